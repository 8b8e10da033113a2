#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spnl::modelkit {

/// Text that normalisation has changed, and where each byte of it comes from. Places ascend.
struct AlignedText {
  std::string text;
  uint64_t source_begin = 0;   ///< of the source, where `text` begins
  std::vector<uint64_t> ends;  ///< for each byte of text, where its source ends; empty: unchanged

  /// Where in the source the text before text[at] ends.
  uint64_t source_of(size_t at) const {
    if (at == 0) return source_begin;
    return ends.empty() ? source_begin + at : ends[at - 1];
  }
  size_t size() const { return text.size(); }
};

/// Writes a changed copy of a text.
class AlignedWriter {
 public:
  explicit AlignedWriter(const AlignedText& from) : from_(from) {
    to_.source_begin = from.source_begin;
    to_.text.reserve(from.size() + from.size() / 4);
    to_.ends.reserve(from.size() + from.size() / 4);
  }
  /// Bytes [begin, end) of the old text as they are.
  void copy(size_t begin, size_t end) {
    to_.text.append(from_.text, begin, end - begin);
    for (size_t i = begin; i < end; ++i) to_.ends.push_back(from_.source_of(i + 1));
  }
  /// New text in the place of what ends at byte `end` of the old one.
  void put(std::string_view text, size_t end) { put_at(text, from_.source_of(end)); }
  void put_at(std::string_view text, uint64_t source_end) {
    to_.text += text;
    to_.ends.insert(to_.ends.end(), text.size(), source_end);
  }
  size_t size() const { return to_.size(); }
  std::string_view text() const { return to_.text; }
  /// Drops what was written after the first `size` bytes.
  void truncate(size_t size) {
    to_.text.resize(size);
    to_.ends.resize(size);
  }
  AlignedText finish() { return std::move(to_); }

 private:
  const AlignedText& from_;
  AlignedText to_;
};

/// Bytes [begin, end) of an AlignedText that the model sees on their own.
struct TextPiece {
  size_t begin, end;
};

}  // namespace spnl::modelkit
