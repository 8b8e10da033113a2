#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/block_table.h"
#include "engine/ngram_index.h"
#include "engine/span_plan.h"
#include "spnl/modelkit/sampling_request.h"
#include "spnl/modelkit/stop_strings.h"
#include "spnl/modelkit/utf8_stream.h"

namespace spnl::mistralrs {

using Clock = std::chrono::steady_clock;
struct Mailbox;
struct Extent;

/// Tokens of one fragment of the prompt: ids [begin, end).
struct FragmentRange {
  uint64_t begin = 0, end = 0;
};

/// What was asked for, in the engine's words; shared by all its samples, const once submitted.
struct Request {
  uint64_t id = 0, user_id = 0;
  std::vector<int32_t> prompt;  ///< at least one id
  std::vector<FragmentRange> fragments;
  SpanRequest spans;
  std::string note;  ///< for a person, about how it is evaluated; may be empty
  modelkit::SamplingRequest sampling;
  bool prefill_only = false;
  Clock::time_point submitted;
};

enum class Finish { kEos, kStop, kLength, kCancelled, kError };

/// One sample on its way: its tokens, how many have keys and values in the cache, and how to go on.
/// Its rows are the tokens that it computes itself: all, but for those of the extents that it sees.
struct Sequence : std::enable_shared_from_this<Sequence> {
  Sequence(std::shared_ptr<const Request> for_request, std::shared_ptr<const SpanPlan> how,
           uint32_t sample_index, Mailbox& mailbox, BlockPool& pool, int32_t block_size);

  std::shared_ptr<const Request> request;
  uint32_t sample;
  Mailbox* owner;            ///< of the session; valid until the sequence has finished
  std::vector<int32_t> ids;  ///< prompt and output
  std::shared_ptr<const SpanPlan> plan;
  int64_t computed = 0;                       ///< rows that are in the cache
  int64_t planned = 0;                        ///< rows that this step computes
  BlockTable table;                           ///< of the rows
  std::vector<std::shared_ptr<Extent>> sees;  ///< of each run of plan->own->sees, while it runs
  bool encodes = false;    ///< computes an extent: nobody hears of it, and no token follows
  bool long_rope = false;  ///< what is in the cache turns by the long frequencies
  modelkit::Sampler sampler;
  modelkit::Utf8Stream utf8;
  modelkit::StopStrings stops;
  std::optional<Finish> finish;
  std::string error;  ///< with Finish::kError
  /// Other samples of the request that wait for this one's prefill, to share it.
  std::vector<Sequence*> followers;
  bool follows = false;  ///< is in another's `followers`

  bool running = false;    ///< has blocks and takes part in steps
  uint64_t seniority = 0;  ///< order of the first admission, from 1; kept when it has to wait again
  // Of speculation.
  NgramIndex ngrams;
  std::vector<int32_t> guesses;  ///< at what follows `ids`, in this step
  size_t right_guesses = 0;      ///< of this step, that became tokens
  double savings = 1;            ///< tokens that guessing may cost
  size_t guesses_at_once = 4;

  std::vector<uint8_t> cached;  ///< of each token of the prompt: 1 when it was there already
  bool started = false;
  Clock::time_point first_step, prefill_end, first_token, last_token;

  int64_t length() const { return static_cast<int64_t>(ids.size()); }
  int64_t prompt_rows() const { return plan->own->rows(); }
  int64_t rows() const { return length() - hidden(); }
  int32_t id_of_row(int64_t row) const {
    return row < prompt_rows() ? plan->own->ids[static_cast<size_t>(row)]
                               : ids[static_cast<size_t>(row + hidden())];
  }
  int32_t position_of_row(int64_t row) const {
    return row < prompt_rows() ? plan->own->positions[static_cast<size_t>(row)]
                               : static_cast<int32_t>(row + hidden());
  }
  int64_t remaining() const {
    return rows() - computed;
  }  ///< rows to run before the next token can be sampled
  int64_t cached_tokens() const;
  int64_t storable_rows() const;  ///< of its prompt, that may be kept for others
  /// Whether the rows that it sees are computed, after what is planned for this step.
  bool ready() const;
  Chain chain() const;  ///< its rows; valid until the next call or token
  uint64_t output_tokens() const { return ids.size() - request->prompt.size(); }

 private:
  int64_t hidden() const { return static_cast<int64_t>(request->prompt.size()) - prompt_rows(); }

  mutable std::vector<int32_t> row_ids_, row_positions_;  // of chain()
};

}  // namespace spnl::mistralrs
