#include "completion_json.h"

#include "generation.h"

namespace spnl::host {
namespace {

void write_fragments(JsonText& json, const std::vector<FragmentUsage>& fragments) {
  json.key("fragments").begin_array();
  for (const FragmentUsage& one : fragments) {
    json.begin_object().key("fragment").text(one.path).key("begins").text(one.begins);
    json.key("tokens").whole(one.tokens).key("cached").whole(one.cached).end_object();
  }
  json.end_array();
}

}  // namespace

void write_completion(JsonText& json, const Completion& done) {
  json.key("text").text(done.text).key("ids").ids(done.ids);
  json.key("finish_reason").text(finish_reason_name(done.finish));
  json.key("usage").begin_object();
  json.key("prompt_tokens").whole(done.usage.prompt_tokens);
  json.key("cached_tokens").whole(done.usage.cached_tokens);
  json.key("completion_tokens").whole(done.usage.output_tokens);
  if (!done.usage.span_mode.empty()) json.key("span_mode").text(done.usage.span_mode);
  if (!done.usage.span_context.empty()) json.key("span_context").text(done.usage.span_context);
  if (!done.usage.fragments.empty()) write_fragments(json, done.usage.fragments);
  json.end_object();
}

void write_rates(JsonText& json, const Usage& usage) {
  std::optional<double> ttft;
  if (usage.first_token_ns > 0) ttft = static_cast<double>(usage.first_token_ns) / 1e9;
  json.key("ttft_s").optional_rounded(ttft, 6);
  json.key("prefill_tok_s").optional_rounded(prefill_rate(usage), 2);
  json.key("decode_tok_s").optional_rounded(decode_rate(usage), 2);
}

}  // namespace spnl::host
