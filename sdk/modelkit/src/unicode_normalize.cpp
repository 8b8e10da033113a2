#include "unicode_normalize.h"

#include <algorithm>

#include "unicode_data.h"
#include "unicode_properties.h"

namespace spnl::modelkit::unicode {
namespace {

constexpr char32_t kHangulS = 0xAC00, kHangulL = 0x1100, kHangulV = 0x1161, kHangulT = 0x11A7;
constexpr char32_t kHangulLCount = 19, kHangulVCount = 21, kHangulTCount = 28;
constexpr char32_t kHangulSCount = kHangulLCount * kHangulVCount * kHangulTCount;

uint8_t combining_class(char32_t c) {
  if (c < 0x300) return 0;
  const ClassRun* const end = kClassRuns + kClassRunsCount;
  const ClassRun* const after = std::upper_bound(
      kClassRuns, end, c, [](char32_t code, const ClassRun& run) { return code < run.first; });
  return (after - 1)->combining_class;
}

const Decomposition* find(const Decomposition* list, size_t count, char32_t c) {
  const Decomposition* const at =
      std::lower_bound(list, list + count, c,
                       [](const Decomposition& entry, char32_t code) { return entry.code < code; });
  return at != list + count && at->code == c ? at : nullptr;
}

/// 0: the two do not compose.
char32_t compose(char32_t first, char32_t second) {
  if (first - kHangulL < kHangulLCount && second - kHangulV < kHangulVCount) {
    return kHangulS + ((first - kHangulL) * kHangulVCount + (second - kHangulV)) * kHangulTCount;
  }
  if (first - kHangulS < kHangulSCount && (first - kHangulS) % kHangulTCount == 0 &&
      second > kHangulT && second < kHangulT + kHangulTCount) {
    return first + (second - kHangulT);
  }
  const Composition* const end = kCompositions + kCompositionsCount;
  const Composition* const at =
      std::lower_bound(kCompositions, end, std::pair(first, second),
                       [](const Composition& entry, const std::pair<char32_t, char32_t>& wanted) {
                         return std::pair<char32_t, char32_t>(entry.first, entry.second) < wanted;
                       });
  return at != end && at->first == first && at->second == second ? at->composed : 0;
}

/// A code point on its way, and the bytes [begin, end) of the old text that it comes from.
struct Item {
  char32_t code;
  uint8_t combining_class;
  size_t begin, end;
};

class Normalizer {
 public:
  Normalizer(const AlignedText& text, Form form)
      : text_(text),
        writer_(text),
        compatible_(form == Form::kNfkc || form == Form::kNfkd),
        composes_(form == Form::kNfc || form == Form::kNfkc) {}

  // ASCII begins anew: it has class 0 and composes with nothing before it.
  AlignedText run() {
    const std::string_view text = text_.text;
    const auto ascii = [&](size_t at) { return static_cast<unsigned char>(text[at]) < 0x80; };
    size_t done = 0, at = 0;
    while (at < text.size()) {
      if (ascii(at)) {
        ++at;
        continue;
      }
      const size_t from = at > done ? at - 1 : at;  // a mark may compose with the letter before
      writer_.copy(done, from);
      while (at < text.size() && !ascii(at)) ++at;
      region(from, at);
      done = at;
    }
    writer_.copy(done, text.size());
    return writer_.finish();
  }

 private:
  void region(size_t begin, size_t end) {
    items_.clear();
    while (begin < end) {
      const Character c = character_at(text_.text, begin);
      if (c.code == kIllFormed) {
        flush();
        writer_.copy(begin, begin + c.size);
      } else {
        decompose(c.code, begin, begin + c.size);
      }
      begin += c.size;
    }
    flush();
  }

  void add(char32_t code, size_t begin, size_t end) {
    items_.push_back({code, combining_class(code), begin, end});
  }

  void decompose(char32_t code, size_t begin, size_t end) {
    if (code - kHangulS < kHangulSCount) {
      const char32_t index = code - kHangulS;
      add(kHangulL + index / (kHangulVCount * kHangulTCount), begin, end);
      add(kHangulV + index % (kHangulVCount * kHangulTCount) / kHangulTCount, begin, end);
      if (index % kHangulTCount != 0) add(kHangulT + index % kHangulTCount, begin, end);
      return;
    }
    const Decomposition* entry = compatible_ ? find(kCompatible, kCompatibleCount, code) : nullptr;
    if (entry == nullptr) entry = find(kCanonical, kCanonicalCount, code);
    if (entry == nullptr) return add(code, begin, end);
    for (size_t i = 0; i < entry->size; ++i) add(kDecompositionPool[entry->offset + i], begin, end);
  }

  void flush() {
    for (size_t i = 0; i < items_.size();) {  // canonical order between characters of class 0
      if (items_[i].combining_class == 0) {
        ++i;
        continue;
      }
      size_t stop = i;
      while (stop < items_.size() && items_[stop].combining_class != 0) ++stop;
      std::stable_sort(
          items_.begin() + static_cast<std::ptrdiff_t>(i),
          items_.begin() + static_cast<std::ptrdiff_t>(stop),
          [](const Item& a, const Item& b) { return a.combining_class < b.combining_class; });
      i = stop;
    }
    if (composes_) compose_items();
    write_items();
    items_.clear();
  }

  void compose_items() {
    size_t out = 0, starter = SIZE_MAX;
    for (size_t i = 0; i < items_.size(); ++i) {
      const Item item = items_[i];
      if (starter != SIZE_MAX) {
        const bool adjacent = out == starter + 1;
        // Blocked: something of the same or a higher class, or a starter, stands between.
        const bool blocked = !adjacent && items_[out - 1].combining_class >= item.combining_class;
        const char32_t composed = blocked ? 0 : compose(items_[starter].code, item.code);
        if (composed != 0) {
          items_[starter].code = composed;
          items_[starter].begin = std::min(items_[starter].begin, item.begin);
          items_[starter].end = std::max(items_[starter].end, item.end);
          continue;
        }
      }
      if (item.combining_class == 0) starter = out;
      items_[out++] = item;
    }
    items_.resize(out);
  }

  void write_items() {
    size_t done = 0;  // places ascend, even where marks have changed their order
    std::string bytes;
    for (const Item& item : items_) {
      bytes.clear();
      append_character(bytes, item.code);
      const bool same =
          item.begin >= done &&
          std::string_view(text_.text).substr(item.begin, item.end - item.begin) == bytes;
      if (same) {
        writer_.copy(item.begin, item.end);
      } else {
        writer_.put(bytes, std::max(done, item.end));
      }
      done = std::max(done, item.end);
    }
  }

  const AlignedText& text_;
  AlignedWriter writer_;
  bool compatible_, composes_;
  std::vector<Item> items_;
};

}  // namespace

AlignedText normalize(AlignedText text, Form form) {
  const bool ascii = std::all_of(text.text.begin(), text.text.end(),
                                 [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  return ascii ? std::move(text) : Normalizer(text, form).run();
}

}  // namespace spnl::modelkit::unicode
