#include "engine/span_defaults.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace spnl::mistralrs {
namespace {

struct Trained {
  std::string_view name;  // a part of the model's own name, in lower case
  SpanDefaults defaults;
};
// Block-Attention (arXiv 2409.15355): each block was trained to see itself alone.
constexpr Trained kTrained[] = {{"-block-ft", {SpanMode::kBlock, SpanContext::kNone}}};

std::string own_name(std::string_view model) {
  while (model.ends_with('/')) model.remove_suffix(1);
  std::string name(model.substr(model.rfind('/') + 1));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return name;
}

}  // namespace

SpanDefaults span_defaults(std::string_view model) {
  const std::string name = own_name(model);
  for (const Trained& trained : kTrained)
    if (name.find(trained.name) != std::string::npos) return trained.defaults;
  return {};
}

}  // namespace spnl::mistralrs
