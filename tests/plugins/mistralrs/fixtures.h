#pragma once
// What the fixtures expect, and models loaded for tests.
#include <rapidjson/document.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "engine/model.h"
#include "engine/score.h"

namespace spnl::mistralrs::test {

struct Expected {
  std::string name;
  std::vector<int32_t> ids, greedy;
  std::vector<float> logits;  // [vocab], after the last id
};

inline std::vector<Expected> read_expected(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  rapidjson::Document doc;
  doc.Parse(text.str().c_str());
  std::vector<Expected> out;
  if (doc.HasParseError() || !doc.HasMember("prompts")) return out;
  for (const auto& p : doc["prompts"].GetArray()) {
    Expected e;
    e.name = p["name"].GetString();
    for (const auto& v : p["ids"].GetArray()) e.ids.push_back(v.GetInt());
    for (const auto& v : p["logits"].GetArray()) e.logits.push_back(v.GetFloat());
    if (p.HasMember("greedy"))
      for (const auto& v : p["greedy"].GetArray()) e.greedy.push_back(v.GetInt());
    out.push_back(std::move(e));
  }
  return out;
}

inline std::unique_ptr<Model> load(const std::filesystem::path& path, const Settings& settings) {
  return std::make_unique<Model>(
      path, modelkit::OpenOptions{}, settings, [](uint64_t, uint64_t) { return true; },
      [](const std::string&) {});
}

/// Raw logits after the last id.
inline std::vector<float> last_logits(Model& model, const std::vector<int32_t>& ids) {
  const size_t vocab = model.bundle().spec.vocab_size;
  std::vector<float> logprobs(ids.size()), top(vocab), out(vocab);
  std::vector<int32_t> order(vocab);
  double lse = 0;
  if (!score(model, ids, logprobs, order, top, lse)) return {};
  for (size_t i = 0; i < vocab; ++i) out[static_cast<size_t>(order[i])] = top[i];
  return out;
}

/// Largest difference as a share of the expected logits' range.
inline double off_by(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return 1e9;
  const auto [low, high] = std::minmax_element(want.begin(), want.end());
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i)
    worst = std::max(worst, std::abs(double(got[i]) - want[i]));
  return worst / (*high - *low);
}

inline std::vector<float> log_softmax(std::vector<float> logits) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit});
  for (float& logit : logits) logit -= static_cast<float>(std::log(sum));
  return logits;
}

}  // namespace spnl::mistralrs::test
