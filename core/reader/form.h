#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "reader/source.h"

namespace spnl::reader {

enum class FormKind : uint8_t { kString, kRawString, kNumber, kSymbol, kList };

/// One form of the text. Forms lie in one array, each before its parts, so that no walk over them
/// needs recursion.
struct Form {
  FormKind kind = FormKind::kList;
  SourcePosition position;
  uint32_t end = 0;                 ///< index of the first form after this one and its parts
  uint32_t offset = 0, length = 0;  ///< in the text, as in Token
};

/// The forms of a text that holds exactly one; the first is the whole.
class Forms {
 public:
  explicit Forms(const Source& source);  ///< throws Error(kBadQuery)

  const Form& operator[](uint32_t index) const { return forms_[index]; }
  /// Indices of the parts of the list at `index`, its head among them.
  std::vector<uint32_t> parts(uint32_t index) const;
  /// The symbol that heads the list at `index`; empty when `index` is no list or has no such head.
  std::string_view head(uint32_t index) const;
  std::string_view text(uint32_t index) const {
    return source_.text.substr(forms_[index].offset, forms_[index].length);
  }
  /// As in the text, cut short, for messages.
  std::string describe(uint32_t index) const;

 private:
  const Source& source_;
  std::vector<Form> forms_;
};

}  // namespace spnl::reader
