#pragma once
#include "tokenizer/aligned_text.h"

namespace spnl::modelkit::unicode {

enum class Form { kNfc, kNfd, kNfkc, kNfkd };

/// Unicode normalisation (UAX 15). Bytes that are no UTF-8 stay as they are. Linear but for the
/// sorting of long runs of marks.
AlignedText normalize(AlignedText text, Form form);

}  // namespace spnl::modelkit::unicode
