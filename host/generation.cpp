#include "generation.h"

#include <future>
#include <memory>

namespace spnl::host {

std::vector<Completion> generate(Model& model, GenerateRequest request, std::stop_token stop,
                                 std::function<void(const TokenEvent&)> on_tokens) {
  auto finished = std::make_shared<std::promise<std::vector<Completion>>>();
  GenerateHandlers handlers;
  if (on_tokens)
    handlers.on_tokens = [on_tokens](uint32_t sample, std::string_view text,
                                     const std::vector<int32_t>& ids) {
      on_tokens({sample, text, ids.size()});
    };
  handlers.on_finish = [finished](std::vector<Completion> completions) {
    finished->set_value(std::move(completions));
  };
  uint64_t number = model.generate(std::move(request), std::move(handlers));
  std::stop_callback cancel(stop, [&] { model.cancel(number); });
  return finished->get_future().get();
}

std::optional<double> prefill_rate(const Usage& usage) {
  if (usage.prefill_ns == 0 || usage.prompt_tokens <= usage.cached_tokens) return std::nullopt;
  return static_cast<double>(usage.prompt_tokens - usage.cached_tokens) * 1e9 /
         static_cast<double>(usage.prefill_ns);
}

std::optional<double> decode_rate(const Usage& usage) {
  if (usage.decode_ns == 0 || usage.output_tokens < 2) return std::nullopt;
  return static_cast<double>(usage.output_tokens - 1) * 1e9 / static_cast<double>(usage.decode_ns);
}

}  // namespace spnl::host
