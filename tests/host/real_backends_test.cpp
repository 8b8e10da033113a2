#include <boost/test/unit_test.hpp>

#include "host_process.h"

using namespace spnl::host_test;

namespace {

const std::string kModel = SPNL_TEST_FIXTURES_DIR "/gguf/llama-bf16.gguf";

/// What the dynamic loader says while the program runs with the backends of the build tree.
std::string libraries_of(const std::vector<std::string>& arguments) {
  HostOptions options;
  options.environment = {{"LD_DEBUG", "libs"}};
  const HostResult result = run_host(arguments, options);
  BOOST_TEST(result.exit_code == 0, result.errors.substr(0, 2000));
  return result.errors;
}

bool loads_libtorch(const std::string& libraries) {
  return libraries.find("libtorch") != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(only_a_mistralrs_model_loads_libtorch) {
  BOOST_TEST(!loads_libtorch(libraries_of({"backends"})));
  BOOST_TEST(!loads_libtorch(libraries_of({"score", "-m", "cpu_ref/" + kModel, "--ids", "1,2,3"})));
#ifdef SPNL_HAS_MISTRALRS
  BOOST_TEST(
      loads_libtorch(libraries_of({"score", "-m", "mistralrs/" + kModel, "--ids", "1,2,3"})));
#endif
}

BOOST_AUTO_TEST_CASE(both_backends_give_the_same_greedy_tokens) {
#ifdef SPNL_HAS_MISTRALRS
  std::string texts[2];
  for (int i = 0; i < 2; ++i) {
    const std::string prefix = i == 0 ? "cpu_ref/" : "mistralrs/";
    const HostResult result = run_host({"generate", "-m", prefix + kModel, "--prompt-ids",
                                        "1,5,9,200", "--temperature", "0", "--max-tokens", "12"});
    BOOST_TEST(result.exit_code == 0, result.errors);
    texts[i] = result.output;
  }
  BOOST_TEST(texts[0] == texts[1]);
  BOOST_TEST(texts[0].size() > 1u);
#endif
}
