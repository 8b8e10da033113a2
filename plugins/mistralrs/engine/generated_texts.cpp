#include "engine/generated_texts.h"

namespace spnl::mistralrs {

void GeneratedTexts::add(const Sequence& finished) {
  const bool whole = finished.finish == Finish::kEos || finished.finish == Finish::kStop ||
                     finished.finish == Finish::kLength;
  if (!whole || finished.output_tokens() == 0) return;
  auto text = std::make_shared<GeneratedText>();
  text->plan = finished.plan;
  text->output.assign(finished.ids.end() - static_cast<std::ptrdiff_t>(finished.output_tokens()),
                      finished.ids.end());
  text->store = finished.storable_rows() == finished.prompt_rows();
  tokens_ += tokens_of(*text);
  oldest_first_.push_back(texts_.emplace(finished.request->id, std::move(text)));
  while (tokens_ > max_tokens_) {
    tokens_ -= tokens_of(*oldest_first_.front()->second);
    texts_.erase(oldest_first_.front());
    oldest_first_.pop_front();
  }
}

size_t GeneratedTexts::tokens_of(const GeneratedText& text) {
  // A run weighs like a few tokens, and there may be far more of them.
  const auto weight = [](const ExtentPlan& extent) {
    return extent.ids.size() + 2 * extent.sees.size();
  };
  size_t tokens = text.output.size() + weight(*text.plan->own);
  for (const auto& extent : text.plan->extents) tokens += weight(*extent);
  return tokens;
}

Lineage GeneratedTexts::of(const std::vector<modelkit::EncodedSpan>& spans) const {
  Lineage found;
  for (const modelkit::EncodedSpan& span : spans) {
    if (span.lineage == 0 || found.contains(span.lineage)) continue;
    const auto [begin, end] = texts_.equal_range(span.lineage);
    found.insert(begin, end);
  }
  return found;
}

}  // namespace spnl::mistralrs
