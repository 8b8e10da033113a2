#pragma once
// Tables that unicode_generate_data.py writes; see unicode_properties.h and unicode_normalize.h.
#include <cstddef>
#include <cstdint>

namespace spnl::modelkit::unicode {

/// From `first` up to the next run's.
struct CategoryRun {
  uint32_t first;
  uint8_t category;
};
struct ClassRun {
  uint32_t first;
  uint8_t combining_class;
};
/// Full decomposition: kDecompositionPool[offset, offset + size). Hangul is computed instead.
struct Decomposition {
  uint32_t code;
  uint16_t offset;
  uint8_t size;
};
struct Composition {
  uint32_t first, second, composed;
};

extern const CategoryRun kCategoryRuns[];
extern const size_t kCategoryRunsCount;
extern const ClassRun kClassRuns[];
extern const size_t kClassRunsCount;
extern const Decomposition kCanonical[], kCompatible[];  ///< kCompatible: where it differs
extern const size_t kCanonicalCount, kCompatibleCount;
extern const char32_t kDecompositionPool[];
extern const size_t kDecompositionPoolCount;
extern const Composition kCompositions[];  ///< by first, then second
extern const size_t kCompositionsCount;

}  // namespace spnl::modelkit::unicode
