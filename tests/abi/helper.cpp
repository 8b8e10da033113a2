#include "spnl/backend.hpp"

int main() {
  return spnl::abi::guard(nullptr, [] { throw spnl::abi::Failure(SPNL_BUSY, "no"); }) == SPNL_BUSY
             ? 0
             : 1;
}
