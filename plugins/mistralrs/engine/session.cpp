#include "engine/session.h"

#include "engine/extents.h"
#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {
namespace {

using modelkit::Error;
using modelkit::ErrorCode;

constexpr size_t kMaxQueuedSequences = 65536;
constexpr size_t kMaxGeneratedTokens = 1 << 20;  // a few words each

}  // namespace

Session::Session(Model& model, Listener listener, Note note)
    : model_(model),
      engine_(*model.engine()),
      listener_(std::move(listener)),
      note_(std::move(note)),
      generated_(kMaxGeneratedTokens) {
  engine_.join(mailbox_);
}

Session::~Session() {
  if (!closed_) engine_.leave(mailbox_);
}

void Session::check(const Request& request) const {
  const auto tokens = static_cast<int64_t>(request.prompt.size());
  const int64_t slots = model_.runtime()->longest_sequence();
  if (tokens == 0) throw Error(ErrorCode::kInvalid, "the prompt has no tokens");
  if (tokens > model_.context())
    throw Error(ErrorCode::kInvalid, "the prompt has " + std::to_string(tokens) +
                                         " tokens and the context holds " +
                                         std::to_string(model_.context()));
  if (tokens > slots)
    throw Error(ErrorCode::kInvalid, "the prompt has " + std::to_string(tokens) +
                                         " tokens and the KV cache holds " + std::to_string(slots) +
                                         "; allow it more memory");
  const auto vocab = static_cast<int32_t>(model_.bundle().spec.vocab_size);
  for (const int32_t token : request.prompt)
    if (token < 0 || token >= vocab)
      throw Error(ErrorCode::kInvalid, "token " + std::to_string(token) +
                                           " is outside the vocabulary of " +
                                           std::to_string(vocab));
}

bool Session::submit(Request request, uint64_t& id) {
  check(request);
  if (alive_ + request.sampling.samples > kMaxQueuedSequences) return false;
  id = request.id = engine_.next_request_id();
  request.submitted = Clock::now();
  request.spans.lineage = generated_.of(request.spans.spans);
  const auto shared = std::make_shared<const Request>(std::move(request));
  Runtime& runtime = *model_.runtime();
  const auto plan = plan_spans(shared->prompt, shared->spans,
                               model_.turns_long(std::ssize(shared->prompt)), *runtime.kept);
  const BlockCounts needed =
      most_blocks(*plan, plan->own->rows(), *runtime.pool, runtime.cache->block_size());
  if (!runtime.pool->can_hold(needed))
    throw Error(ErrorCode::kInvalid, "the fragments of the prompt need " +
                                         std::to_string(needed.full) +
                                         " blocks and the KV cache holds " +
                                         std::to_string(runtime.pool->full_of(needed)) +
                                         "; allow it more memory, or use the span mode exact");
  std::vector<std::shared_ptr<Sequence>> samples;
  for (uint32_t sample = 0; sample < shared->sampling.samples; ++sample)
    samples.push_back(std::make_shared<Sequence>(shared, plan, sample, mailbox_, *runtime.pool,
                                                 runtime.cache->block_size()));
  engine_.submit(std::move(samples));
  if (!shared->note.empty()) note_(shared->note);
  alive_ += shared->sampling.samples;
  return true;
}

uint32_t Session::step() {
  if (alive_ > 0) deliver(engine_.step(mailbox_));
  return alive();
}

void Session::cancel(uint64_t id) { engine_.cancel(mailbox_, id); }

void Session::close() {
  closed_ = true;
  deliver(engine_.leave(mailbox_));
}

void Session::deliver(const std::vector<Event>& events) {
  for (const Event& event : events) {
    if (event.finished) {
      --alive_;
      note_full_context(*event.sequence);
      generated_.add(*event.sequence);
    }
    if (listener_(event) != 0 && !closed_) cancel(event.sequence->request->id);
  }
}

void Session::note_full_context(const Sequence& sequence) const {
  const uint64_t most = sequence.request->sampling.max_tokens;
  const bool at_limit = most != 0 && sequence.output_tokens() >= most;
  if (sequence.finish == Finish::kLength && !at_limit && !sequence.request->prefill_only)
    note_("context full: stopped after " + std::to_string(sequence.length()) + " tokens, of " +
          std::to_string(model_.context()) + " in the context");
}

}  // namespace spnl::mistralrs
