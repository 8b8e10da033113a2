#include "run_observer.h"

namespace spnl::host {

void RunObserver::on_generate_start(const std::string&, const std::string&, uint32_t samples) {
  started_ += samples;
  show_progress();
}

void RunObserver::on_text(const std::string& node, uint32_t, std::string_view text,
                          size_t new_tokens) {
  tokens_ += new_tokens;
  if (node == streaming_node_) {
    streamed_ += text;
    terminal_.generated(text);
  }
  show_progress();
}

void RunObserver::on_generate_finish(const std::string& node, const std::string& model,
                                     const std::vector<Completion>& done) {
  finished_ += done.size();
  times_.push_back({node, model, done});
  show_progress();
}

void RunObserver::show_progress() {
  if (streaming_node_) return;
  bool over = finished_ >= started_;
  terminal_.progress(std::to_string(finished_) + " of " + std::to_string(started_) +
                         " generations done, " + std::to_string(tokens_) + " tokens",
                     over ? 1 : 0, over ? 1 : 0);
}

}  // namespace spnl::host
