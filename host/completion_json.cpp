#include "completion_json.h"

#include "generation.h"

namespace spnl::host {

void write_completion(JsonText& json, const Completion& done) {
  json.key("text").text(done.text).key("ids").ids(done.ids);
  json.key("finish_reason").text(finish_reason_name(done.finish));
  json.key("usage").begin_object();
  json.key("prompt_tokens").whole(done.usage.prompt_tokens);
  json.key("cached_tokens").whole(done.usage.cached_tokens);
  json.key("completion_tokens").whole(done.usage.output_tokens).end_object();
}

void write_rates(JsonText& json, const Usage& usage) {
  std::optional<double> ttft;
  if (usage.first_token_ns > 0) ttft = static_cast<double>(usage.first_token_ns) / 1e9;
  json.key("ttft_s").optional_rounded(ttft, 6);
  json.key("prefill_tok_s").optional_rounded(prefill_rate(usage), 2);
  json.key("decode_tok_s").optional_rounded(decode_rate(usage), 2);
}

}  // namespace spnl::host
