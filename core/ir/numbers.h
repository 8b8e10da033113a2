#pragma once
#include <string>

/// Numbers of a query are 32-bit floats for the backends, whatever holds them on the way.
namespace spnl::ir {

/// The fewest digits that read back the same 32-bit float, without a plus sign.
std::string number_text(double value);

/// The number that number_text(value) spells: what a reader keeps, so that printing loses nothing.
double rounded(double value);

}  // namespace spnl::ir
