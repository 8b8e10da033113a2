#pragma once
#include <string>

#include "spnl/modelkit/model_spec.h"

namespace spnl::modelkit {

/// Where two readings of one model differ in anything but the values of weights, the order of
/// rotary pairs and how norms are written down: "layer 3: window is 24 and 0". Empty when they
/// agree; reals may differ by one in a hundred thousand, since GGUF files hold floats.
std::string difference(const ModelSpec& a, const ModelSpec& b);

}  // namespace spnl::modelkit
