#pragma once

namespace spnl::mistralrs {

/// Registers the operators spnl_mistralrs::* with libtorch's dispatcher, once per process; later
/// calls do nothing. Called from open(), never by a static constructor: an error there would end
/// the host. What is registered stays for good, since taking it back from a static destructor
/// crashes at exit. Throws c10::Error when another library has the names.
void register_torch_ops();

}  // namespace spnl::mistralrs
