#include "spnl/modelkit/stop_strings.h"

#include <algorithm>

namespace spnl::modelkit {
namespace {

size_t advance(const std::string& text, const std::vector<size_t>& border, size_t matched, char c) {
  while (matched > 0 && (matched == text.size() || text[matched] != c))
    matched = border[matched - 1];
  return text[matched] == c ? matched + 1 : 0;
}

}  // namespace

StopStrings::StopStrings(std::vector<std::string> stops) {
  for (std::string& text : stops) {
    if (text.empty()) continue;
    std::vector<size_t> border(text.size(), 0);
    for (size_t i = 1; i < text.size(); ++i)
      border[i] = advance(text, border, border[i - 1], text[i]);
    stops_.push_back({std::move(text), std::move(border), 0});
  }
}

std::string StopStrings::push(std::string_view text) {
  if (stopped_) return {};
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    size_t found = 0;
    for (Stop& stop : stops_) {
      stop.matched = advance(stop.text, stop.border, stop.matched, text[i]);
      if (stop.matched == stop.text.size()) found = std::max(found, stop.matched);
    }
    if (found == 0) continue;
    stopped_ = true;
    held_.append(text.substr(0, i + 1));
    held_.resize(held_.size() - found);
    out.swap(held_);
    held_.clear();
    return out;
  }
  held_ += text;
  size_t keep = 0;
  for (const Stop& stop : stops_) keep = std::max(keep, stop.matched);
  out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

std::string StopStrings::finish() {
  std::string out;
  if (!stopped_) out.swap(held_);
  held_.clear();
  for (Stop& stop : stops_) stop.matched = 0;
  return out;
}

}  // namespace spnl::modelkit
