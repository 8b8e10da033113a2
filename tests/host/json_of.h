#pragma once
#include <rapidjson/document.h>

#include <boost/test/unit_test.hpp>

#include "host_process.h"

namespace spnl::host_test {

/// What a program that ended well printed, as JSON.
inline rapidjson::Document json_of(const HostResult& result) {
  BOOST_TEST(result.exit_code == 0, result.errors);
  rapidjson::Document document;
  document.Parse<rapidjson::kParseValidateEncodingFlag>(result.output.data(), result.output.size());
  BOOST_REQUIRE_MESSAGE(!document.HasParseError(), result.output);
  return document;
}

}  // namespace spnl::host_test
