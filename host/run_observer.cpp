#include "run_observer.h"

#include <algorithm>

namespace spnl::host {

void RunObserver::on_generate_start(const std::string& node, const std::string& model,
                                    uint32_t samples) {
  if (view_) view_->started(node, model, samples);
}

void RunObserver::on_text(const std::string& node, uint32_t sample, std::string_view text,
                          size_t new_tokens) {
  if (view_) view_->wrote(node, sample, text, new_tokens);
  if (node != shown_.streaming_node) return;
  if (terminal_.output_is_terminal()) view_.reset();
  streamed_ += text;
  terminal_.generated(text);
}

void RunObserver::on_generate_finish(const std::string& node, const std::string& model,
                                     const std::vector<Completion>& done) {
  const bool failed = std::any_of(done.begin(), done.end(), [](const Completion& sample) {
    return sample.finish == FinishReason::kError;
  });
  if (view_) view_->finished(node, failed);
  times_.push_back({node, model, done});
}

void RunObserver::on_failure(const std::string& node, const Error& error) {
  failures_.push_back({node, error});
  terminal_.error(error);
}

}  // namespace spnl::host
