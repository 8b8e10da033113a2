#include "util/memory.h"

#include <boost/test/unit_test.hpp>

using namespace spnl;

BOOST_AUTO_TEST_CASE(reads_amounts) {
  BOOST_TEST(parse_bytes("4096").value() == 4096u);
  BOOST_TEST(parse_bytes("0").value() == 0u);
  BOOST_TEST(parse_bytes("2G").value() == 2ull << 30);
  BOOST_TEST(parse_bytes("3mib").value() == 3ull << 20);
  BOOST_TEST(parse_bytes("7KB").value() == 7ull << 10);
  BOOST_TEST(parse_bytes("17179869183G").value() == 17179869183ull << 30);
  for (const char* text :
       {"", "G", "-1", "1.5G", "2 G", "2T", "2kx", "2Gibs", "17179869184G", "99999999999999999999"})
    BOOST_TEST(!parse_bytes(text).has_value(), text);
}

BOOST_AUTO_TEST_CASE(writes_amounts) {
  BOOST_TEST(bytes_text(0) == "0 bytes");
  BOOST_TEST(bytes_text(1023) == "1023 bytes");
  BOOST_TEST(bytes_text(1536) == "1.5 KiB");
  BOOST_TEST(bytes_text(812ull << 20) == "812 MiB");
  BOOST_TEST(bytes_text(3ull << 40) == "3072 GiB");
}

BOOST_AUTO_TEST_CASE(knows_what_is_available) {
  BOOST_TEST(available_memory().value_or(0) > 1u << 20);
}
