// spnl-host score: how likely a model finds a text, and what it expects next.
#include <cmath>

#include "command.h"
#include "input.h"
#include "json_text.h"
#include "model_options.h"

namespace spnl::host {
namespace {

constexpr uint64_t kDefaultTop = 10, kMostTop = 10'000'000;

std::vector<int32_t> scored_ids(const Arguments& args, Model& model) {
  if (args.has("text")) return model.tokenize(raw_prompt(*args.get("text"), true), {});
  std::vector<int32_t> ids = token_ids(*args.get("ids"), "--ids");
  uint64_t vocabulary = model.info().vocab;
  for (int32_t id : ids)
    if (vocabulary > 0 && static_cast<uint64_t>(id) >= vocabulary)
      throw Error(ErrorCode::kUsage,
                  "token id " + std::to_string(id) + " is past the vocabulary of " +
                      std::to_string(vocabulary),
                  "--ids", "give ids below that");
  return ids;
}

std::optional<double> perplexity(const Score& score) {
  double sum = 0;
  for (size_t i = 1; i < score.logprobs.size(); ++i) sum += static_cast<double>(score.logprobs[i]);
  if (score.logprobs.size() < 2) return std::nullopt;
  return std::exp(-sum / static_cast<double>(score.logprobs.size() - 1));
}

std::string as_json(const std::vector<int32_t>& ids, const Score& score, Model& model) {
  JsonText json;
  json.begin_object().key("ids").ids(ids);
  json.key("logprobs").begin_array();
  for (float logprob : score.logprobs) json.number(static_cast<double>(logprob));
  json.end_array().key("perplexity");
  if (auto value = perplexity(score))
    json.number(*value);
  else
    json.null();
  json.key("top").begin_array();
  for (size_t i = 0; i < score.top_ids.size() && i < score.top_logits.size(); ++i) {
    double logit = static_cast<double>(score.top_logits[i]);
    json.begin_object()
        .key("id")
        .integer(score.top_ids[i])
        .key("piece")
        .text(model.detokenize({score.top_ids[i]}));
    json.key("logit").number(logit).key("logprob").number(logit - score.log_sum_exp).end_object();
  }
  return json.end_array().end_object().str() + "\n";
}

std::string as_table(const std::vector<int32_t>& ids, const Score& score, Model& model) {
  char line[80];
  std::snprintf(line, sizeof line, "tokens %zu  perplexity %.4f\n", ids.size(),
                perplexity(score).value_or(NAN));
  std::string out = line;
  for (size_t i = 0; i < score.top_ids.size() && i < score.top_logits.size(); ++i) {
    double logit = static_cast<double>(score.top_logits[i]);
    std::snprintf(line, sizeof line, "%8d  %10.4f  %10.4f  ", score.top_ids[i], logit,
                  logit - score.log_sum_exp);
    out += line + JsonText().text(model.detokenize({score.top_ids[i]})).str() + "\n";
  }
  return out;
}

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  std::string name = required_model(args);
  LoadOptions load = load_options(args);
  uint64_t top = args.unsigned_number("top", 0, kMostTop).value_or(kDefaultTop);
  if (args.has("text") == args.has("ids"))
    throw Error(ErrorCode::kUsage, "nothing to score, or more than one thing", "command line",
                "give one of --text and --ids");
  if (args.has("ids"))
    token_ids(*args.get("ids"), "--ids");  // before a model is loaded for nothing
  Backends backends(backends_options(args, invocation.terminal));
  std::shared_ptr<Model> model = backends.load(name, load, invocation.interrupt.token());
  std::vector<int32_t> ids = scored_ids(args, *model);
  if (ids.empty())
    throw Error(ErrorCode::kUsage, "the text has no tokens", "--text", "give some text");
  if (model->info().vocab > 0) top = std::min(top, model->info().vocab);
  Score score = model->score(ids, static_cast<uint32_t>(top));
  invocation.terminal.result(args.has("json") ? as_json(ids, score, *model)
                                              : as_table(ids, score, *model));
  return kExitDone;
}

}  // namespace

Command score_command() {
  return {"score",
          "Shows a text's probabilities and the likeliest next tokens.",
          "--model M (--text T | --ids 1,2,3) [--top K] [--json]",
          kGeneral | kBackend | kModel,
          {{"text", 0, "T", "text as it stands, without chat template"},
           {"ids", 0, "IDS", "token ids, like 1,2,3"},
           {"top", 0, "K", "how many next tokens to show (default 10; at most the vocabulary)"}},
          0,
          "Columns: id, raw logit, natural logarithm of the probability, text.",
          run};
}

}  // namespace spnl::host
