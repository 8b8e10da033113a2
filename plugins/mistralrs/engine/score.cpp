#include "engine/score.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cache/block_table.h"
#include "engine/engine.h"
#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {
namespace {

using modelkit::Error;
using modelkit::ErrorCode;

double log_sum(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  return top + std::log(sum);
}

void best(std::span<const float> logits, std::span<int32_t> top_ids, std::span<float> top_logits) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(top_ids.size()),
                    order.end(), [&](int32_t a, int32_t b) {
                      const float x = logits[static_cast<size_t>(a)],
                                  y = logits[static_cast<size_t>(b)];
                      return x > y || (x == y && a < b);
                    });
  for (size_t i = 0; i < top_ids.size(); ++i) {
    top_ids[i] = order[i];
    top_logits[i] = logits[static_cast<size_t>(order[i])];
  }
}

void check(const Model& model, std::span<const int32_t> ids, size_t k) {
  const auto vocab = static_cast<int32_t>(model.bundle().spec.vocab_size);
  if (ids.empty()) throw Error(ErrorCode::kInvalid, "nothing to score: no tokens");
  if (static_cast<int64_t>(ids.size()) > model.context())
    throw Error(ErrorCode::kInvalid, std::to_string(ids.size()) +
                                         " tokens are more than the context of " +
                                         std::to_string(model.context()));
  if (k > static_cast<size_t>(vocab))
    throw Error(ErrorCode::kInvalid,
                "top " + std::to_string(k) + " of a vocabulary of " + std::to_string(vocab));
  for (const int32_t id : ids)
    if (id < 0 || id >= vocab)
      throw Error(
          ErrorCode::kInvalid,
          "token " + std::to_string(id) + " is outside the vocabulary of " + std::to_string(vocab));
}

void place(const BlockTable& table, BlockKind kind, int64_t begin, int64_t end, Placement& at) {
  for (int64_t i = begin; i < end; ++i) at.slots.push_back(table.slot(i, kind));
  at.runs.push_back({table.blocks(kind).data(), 0, static_cast<int32_t>(end), 0, 0});
  at.sequences.push_back({0, end - begin, at.runs});
}

}  // namespace

bool score(Model& model, std::span<const int32_t> ids, std::span<float> logprobs,
           std::span<int32_t> top_ids, std::span<float> top_logits, double& log_sum_exp) {
  check(model, ids, top_ids.size());
  Runtime& runtime = *model.runtime();
  const Engine::Turn turn(*model.engine());
  const auto n = static_cast<int64_t>(ids.size());
  BlockTable table(*runtime.pool, runtime.cache->block_size());
  const BlockCounts most = most_blocks(*runtime.pool, n, runtime.cache->block_size(), kTokenBudget);
  if (!runtime.pool->can_hold(most))
    throw Error(
        ErrorCode::kInvalid,
        std::to_string(n) + " tokens are more than the KV cache holds; allow it more memory");
  runtime.kept->make_room(most);
  if (!runtime.pool->fits(most)) return false;

  const bool long_rope = model.turns_long(n);
  logprobs[0] = std::numeric_limits<float>::quiet_NaN();
  Batch batch;
  std::vector<int32_t> rows;
  for (int64_t begin = 0; begin < n; begin += kTokenBudget) {
    const int64_t end = std::min(n, begin + kTokenBudget);
    batch.clear();
    table.leave_behind(begin);
    table.grow(end);
    for (int64_t i = begin; i < end; ++i) {
      batch.ids.push_back(ids[static_cast<size_t>(i)]);
      batch.positions.push_back(static_cast<int32_t>(i));
      batch.long_rope.push_back(long_rope ? 1 : 0);
    }
    place(table, BlockKind::kFull, begin, end, batch.full);
    if (runtime.pool->window() != 0) place(table, BlockKind::kWindowed, begin, end, batch.windowed);
    runtime.transformer->forward(batch);
    for (int64_t i = begin; i < end; i += kLogitRows) {
      rows.resize(static_cast<size_t>(std::min(end - i, kLogitRows)));
      std::iota(rows.begin(), rows.end(), static_cast<int32_t>(i - begin));
      const Rows logits = runtime.transformer->logits(rows);
      for (int64_t r = 0; r < logits.count; ++r) {
        const std::span row(logits.data + r * logits.width, static_cast<size_t>(logits.width));
        const double lse = log_sum(row);
        if (i + r + 1 < n) {
          const auto next = static_cast<size_t>(ids[static_cast<size_t>(i + r + 1)]);
          logprobs[static_cast<size_t>(i + r + 1)] = static_cast<float>(row[next] - lse);
        } else {
          log_sum_exp = lse;
          best(row, top_ids, top_logits);
        }
      }
    }
  }
  return true;
}

}  // namespace spnl::mistralrs
