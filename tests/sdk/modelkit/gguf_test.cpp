#include "spnl/modelkit/gguf.h"

#include <boost/test/unit_test.hpp>

#include "gguf_builder.h"
#include "legacy_builder.h"
#include "spnl/modelkit/error.h"

using namespace spnl::modelkit;
using namespace spnl::test;

namespace {

/// Opens `bytes` as a file; the error's text, or "" when it opens.
std::string open_error(const std::string& bytes, ErrorCode* code = nullptr) {
  const TempDir dir;
  try {
    GgufFile::open(dir.write("m.gguf", bytes));
    return "";
  } catch (const Error& error) {
    if (code != nullptr) *code = error.code();
    BOOST_TEST(std::string(error.what()).find('\n') == std::string::npos);
    return error.what();
  }
}

void check_refused(const std::string& bytes, ErrorCode wanted, std::string_view word) {
  ErrorCode code = ErrorCode::kIo;
  const std::string why = open_error(bytes, &code);
  BOOST_TEST(why.find(word) != std::string::npos, "'" << why << "' does not say '" << word << "'");
  BOOST_TEST((code == wanted), why);
}

const std::string kFloats(32, '\0');

}  // namespace

BOOST_AUTO_TEST_CASE(values_of_every_type) {
  GgufBuilder gguf;
  gguf.value("u8", kU8, GgufBuilder::raw<uint8_t>(200))
      .value("i8", kI8, GgufBuilder::raw<int8_t>(-3));
  gguf.value("u64", kU64, GgufBuilder::raw(UINT64_MAX))
      .value("i16", kI16, GgufBuilder::raw<int16_t>(300));
  gguf.value("f64", kF64, GgufBuilder::raw(0.25))
      .f32("f32", 1.5f)
      .flag("yes", true)
      .string("s", "text");
  gguf.strings("list", {"a", "", "c"})
      .numbers<int16_t>("ints", kI16, {1, -2})
      .numbers<float>("floats", kF32, {0.5f});
  gguf.numbers<uint8_t>("none", kU8, {});
  gguf.tensor("t", {4, 2}, 0, kFloats);
  const TempDir dir;
  const auto file = GgufFile::open(dir.write("m.gguf", gguf.bytes()));
  BOOST_TEST(*file->get_uint("u8") == 200u);
  BOOST_TEST(*file->get_uint("u64") == UINT64_MAX);
  BOOST_TEST(*file->get_uint("i16") == 300u);
  BOOST_TEST(*file->get_float("f64") == 0.25);
  BOOST_TEST(*file->get_float("f32") == 1.5);
  BOOST_TEST(*file->get_float("i8") == -3);
  BOOST_TEST(*file->get_bool("yes"));
  BOOST_TEST(*file->get_string("s") == "text");
  BOOST_TEST(file->get_strings("list")->size() == 3u);
  BOOST_TEST((*file->get_strings("list"))[2] == "c");
  BOOST_TEST((*file->get_ints("ints"))[1] == -2);
  BOOST_TEST((*file->get_floats("floats"))[0] == 0.5);
  BOOST_TEST(file->get_ints("none")->empty());
  BOOST_TEST(!file->get_uint("absent"));
  BOOST_CHECK_THROW(file->get_uint("i8"), Error);
  BOOST_CHECK_THROW(file->get_uint("s"), Error);
  BOOST_CHECK_THROW(file->get_string("u8"), Error);
  BOOST_CHECK_THROW(file->get_ints("list"), Error);
  const Tensor* tensor = file->find("t");
  BOOST_TEST_REQUIRE(tensor != nullptr);
  BOOST_TEST(tensor->rows() == 2u);
  BOOST_TEST(tensor->bytes == 32u);
  BOOST_TEST(file->find("u") == nullptr);
}

BOOST_AUTO_TEST_CASE(version_2_and_other_alignments_are_read) {
  for (const uint64_t alignment : {1u, 8u, 64u, 4096u}) {
    GgufBuilder gguf;
    gguf.version = 2;
    gguf.alignment = alignment;
    gguf.u32("general.alignment", static_cast<uint32_t>(alignment))
        .tensor("a", {3}, 0, std::string(12, 'x'))
        .tensor("b", {8}, 0, kFloats);
    BOOST_TEST(open_error(gguf.bytes()) == "");
  }
}

BOOST_AUTO_TEST_CASE(other_files_are_named) {
  check_refused("", ErrorCode::kCorrupt, "empty");
  check_refused(std::string("PK\x03\x04 archive", 12), ErrorCode::kCorrupt, "PyTorch");
  check_refused("\x80\x02}q", ErrorCode::kCorrupt, "PyTorch");
  check_refused("<!DOCTYPE html><html>", ErrorCode::kCorrupt, "web page");
  check_refused("version https://git-lfs.github.com/spec/v1\noid", ErrorCode::kCorrupt, "LFS");
  check_refused(GgufBuilder::raw<uint64_t>(64) + "{\"a\":", ErrorCode::kCorrupt, "safetensors");
  check_refused("algg....", ErrorCode::kCorrupt, "GGML");
  check_refused("hello", ErrorCode::kCorrupt, "not a GGUF");
  check_refused("GGU", ErrorCode::kCorrupt, "not a GGUF");
  BOOST_CHECK_EXCEPTION(GgufFile::open("/nonexistent/m.gguf"), Error,
                        [](const Error& e) { return e.code() == ErrorCode::kNotFound; });
  BOOST_CHECK_EXCEPTION(GgufFile::open("/"), Error,
                        [](const Error& e) { return e.code() == ErrorCode::kInvalid; });
}

BOOST_AUTO_TEST_CASE(versions_and_byte_order_are_refused) {
  GgufBuilder gguf;
  gguf.version = 1;
  check_refused(gguf.bytes(), ErrorCode::kUnsupported, "version 1");
  gguf.version = 0x03000000;
  check_refused(gguf.bytes(), ErrorCode::kUnsupported, "big-endian");
}

BOOST_AUTO_TEST_CASE(counts_beyond_the_file_are_refused) {
  GgufBuilder gguf;
  gguf.u32("k", 1);
  for (const int64_t lie : {int64_t{1000}, INT64_MAX - 1, int64_t{-5}}) {
    GgufBuilder tensors = gguf, values = gguf;
    tensors.extra_tensors = values.extra_values = lie;
    check_refused(tensors.bytes(), ErrorCode::kCorrupt, "counts");
    check_refused(values.bytes(), ErrorCode::kCorrupt, "counts");
  }
  const auto array = [](uint32_t type, uint64_t n) {
    return GgufBuilder()
        .value("k", kArray, GgufBuilder::raw(type) + GgufBuilder::raw(n) + std::string(64, '\0'))
        .bytes();
  };
  check_refused(array(kU8, UINT64_MAX), ErrorCode::kCorrupt, "counts");
  check_refused(array(kString, uint64_t{1} << 61), ErrorCode::kCorrupt, "counts");
  check_refused(array(kF64, 1000), ErrorCode::kCorrupt, "'k'");
  check_refused(array(kArray, 1), ErrorCode::kUnsupported, "arrays of arrays");
  check_refused(array(77, 1), ErrorCode::kCorrupt, "77");
  check_refused(GgufBuilder().value("k", 99, "").bytes(), ErrorCode::kCorrupt, "99");
  check_refused(
      GgufBuilder().value("k", kString, GgufBuilder::raw<uint64_t>(UINT64_MAX) + "abc").bytes(),
      ErrorCode::kCorrupt, "cut off");
}

BOOST_AUTO_TEST_CASE(duplicates_are_refused) {
  check_refused(GgufBuilder().u32("k", 1).u32("k", 1).bytes(), ErrorCode::kCorrupt, "'k'");
  check_refused(GgufBuilder().tensor("t", {8}, 0, kFloats).tensor("t", {8}, 0, kFloats).bytes(),
                ErrorCode::kCorrupt, "'t'");
}

BOOST_AUTO_TEST_CASE(tensors_that_contradict_themselves_are_refused) {
  const auto one = [](std::vector<uint64_t> dims, uint32_t type, uint64_t offset = 0) {
    return GgufBuilder().tensor_at("t", dims, type, offset, kFloats).bytes();
  };
  BOOST_TEST(open_error(one({8}, 0)) == "");
  check_refused(one({8}, 0, 32), ErrorCode::kCorrupt, "cut off");
  check_refused(one({8}, 0, UINT64_MAX - 31), ErrorCode::kCorrupt, "cut off");
  check_refused(one({4}, 0, 16), ErrorCode::kCorrupt, "alignment");
  check_refused(one({9}, 0), ErrorCode::kCorrupt, "'t'");
  check_refused(one({0}, 0), ErrorCode::kCorrupt, "dimension");
  check_refused(one({}, 0), ErrorCode::kCorrupt, "dimensions");
  check_refused(one({1, 1, 1, 1, 1}, 0), ErrorCode::kCorrupt, "dimensions");
  check_refused(one({uint64_t{1} << 32, uint64_t{1} << 32}, 0), ErrorCode::kCorrupt, "dimension");
  check_refused(one({UINT64_MAX}, 0), ErrorCode::kCorrupt, "dimension");
  check_refused(one({uint64_t{1} << 62}, 0), ErrorCode::kCorrupt, "overflows");
  check_refused(one({33}, 2), ErrorCode::kCorrupt, "blocks of 32 (Q4_0)");
  check_refused(one({8}, 4), ErrorCode::kUnsupported, "type 4");
  check_refused(one({8}, 4000000000u), ErrorCode::kUnsupported, "'t'");
  check_refused(GgufBuilder().tensor(std::string(64, 'n'), {8}, 0, kFloats).bytes(),
                ErrorCode::kCorrupt, "63");
  for (const uint32_t alignment : {0u, 3u, 24u, 0x80000000u})
    check_refused(GgufBuilder().u32("general.alignment", alignment).bytes(), ErrorCode::kCorrupt,
                  "power of two");
}

BOOST_AUTO_TEST_CASE(cut_off_anywhere_is_an_error) {
  const std::string whole = tiny_llama().bytes();
  BOOST_TEST(open_error(whole) == "");
  for (size_t length = 0; length < whole.size(); length += length < 600 ? 1 : 97)
    BOOST_TEST_REQUIRE(open_error(whole.substr(0, length)) != "", length);
}

BOOST_AUTO_TEST_CASE(names_in_messages_are_made_printable) {
  const std::string name = "bad\n\x1b[31m\x7f name";
  const std::string why = open_error(GgufBuilder().tensor(name, {8}, 4, kFloats).bytes());
  BOOST_TEST(why.find('\x1b') == std::string::npos);
  BOOST_TEST(why.find("bad??[31m? name") != std::string::npos, why);
}

BOOST_AUTO_TEST_CASE(split_files) {
  const auto part = [](uint32_t number, uint32_t count, const char* tensor) {
    return GgufBuilder()
        .value("split.no", kU16, GgufBuilder::raw(static_cast<uint16_t>(number)))
        .value("split.count", kU16, GgufBuilder::raw(static_cast<uint16_t>(count)))
        .value("split.tensors.count", kI32, GgufBuilder::raw(int32_t{2}))
        .tensor(tensor, {8}, 0, kFloats)
        .bytes();
  };
  const TempDir dir;
  const auto first = dir.write("m-00001-of-00002.gguf", part(0, 2, "a"));
  BOOST_CHECK_EXCEPTION(GgufFile::open(first), Error, [](const Error& e) {
    return e.code() == ErrorCode::kNotFound &&
           std::string(e.what()).find("m-00002-of-00002.gguf") != std::string::npos;
  });
  const auto second = dir.write("m-00002-of-00002.gguf", part(1, 2, "b"));
  const auto file = GgufFile::open(first);
  BOOST_TEST(file->tensors().size() == 2u);
  BOOST_TEST(file->find("b") != nullptr);
  BOOST_CHECK_THROW(GgufFile::open(second), Error);
  dir.write("m-00002-of-00002.gguf", part(1, 2, "a"));
  BOOST_CHECK_THROW(GgufFile::open(first), Error);  // the same tensor twice
  dir.write("m-00002-of-00002.gguf", part(1, 3, "b"));
  BOOST_CHECK_THROW(GgufFile::open(first), Error);  // of another set
  BOOST_CHECK_THROW(GgufFile::open(dir.write("renamed.gguf", part(0, 2, "a"))), Error);
}

BOOST_AUTO_TEST_CASE(files_from_before_gguf_look_like_gguf) {
  const TempDir dir;
  const std::pair<const char*, uint32_t> containers[] = {
      {"lmgg", 0}, {"fmgg", 1}, {"tjgg", 1}, {"tjgg", 2}, {"tjgg", 3}};
  for (const auto& [magic, version] : containers) {
    BOOST_TEST_CONTEXT(magic << " " << version) {
      const auto file = GgufFile::open(dir.write("m.bin", legacy_llama(magic, version)));
      BOOST_TEST(*file->get_string("general.architecture") == "llama");
      BOOST_TEST(*file->get_uint("llama.attention.head_count_kv") == 2u);
      BOOST_TEST(*file->get_uint("llama.feed_forward_length") == 96u);
      const auto tokens = *file->get_strings("tokenizer.ggml.tokens");
      BOOST_TEST(tokens[1] == "<s>");
      BOOST_TEST(tokens[3 + 0x20] == "<0x20>");
      BOOST_TEST(tokens[260] ==
                 "\xE2\x96\x81"
                 "a260");
      BOOST_TEST(((*file->get_floats("tokenizer.ggml.scores"))[261] <
                  (*file->get_floats("tokenizer.ggml.scores"))[260]));
      BOOST_TEST((*file->get_ints("tokenizer.ggml.token_type"))[3] == 6);
      const Tensor* down = file->find("blk.0.ffn_down.weight");
      BOOST_TEST_REQUIRE(down != nullptr);
      BOOST_TEST(down->dims[0] == 96u);
      BOOST_TEST(std::to_integer<size_t>(down->data[0]) ==
                 std::string_view("layers.0.feed_forward.w2.weight").size());
      BOOST_TEST(file->tensors().size() == 12u);
    }
  }
}

BOOST_AUTO_TEST_CASE(files_from_before_gguf_that_cannot_be_read) {
  check_refused(legacy_llama("tjgg", 2, 2), ErrorCode::kUnsupported, "attn_q");
  check_refused(legacy_llama("tjgg", 4), ErrorCode::kUnsupported, "version 4");
  BOOST_TEST(open_error(legacy_llama("tjgg", 3, 2)) == "");
  const std::string whole = legacy_llama("tjgg", 3);
  check_refused(whole.substr(0, whole.size() - 1), ErrorCode::kCorrupt, "ends here");
  check_refused(whole.substr(0, whole.size() / 2), ErrorCode::kCorrupt, "ends here");
  check_refused(whole.substr(0, 40), ErrorCode::kCorrupt, "tokens");
}

BOOST_AUTO_TEST_CASE(overlapping_tensors_are_refused) {
  GgufBuilder gguf;
  gguf.tensor("a", {8}, 0, kFloats).tensor("b", {8}, 0, kFloats);
  std::string bytes = gguf.bytes();
  const size_t b = bytes.find('b', bytes.find('a'));  // its name; then n_dims, dim, type, offset
  bytes.replace(b + 1 + 4 + 8 + 4, 8, std::string(8, '\0'));
  check_refused(bytes, ErrorCode::kCorrupt, "overlaps");
}

BOOST_AUTO_TEST_CASE(arrays_of_bytes_short_and_long) {
  const TempDir dir;
  for (const size_t size : {size_t{3}, size_t{100000}}) {
    std::vector<uint8_t> bytes(size, 0xC3);
    const auto file =
        GgufFile::open(dir.write("m", GgufBuilder()
                                          .numbers("map", kU8, bytes)
                                          .numbers("small", kU16, std::vector<uint16_t>{7})
                                          .bytes()));
    BOOST_TEST(*file->get_bytes("map") == std::string(size, '\xC3'));
    BOOST_TEST((*file->get_ints("small"))[0] == 7);
    BOOST_TEST(!file->get_bytes("absent"));
  }
  check_refused(GgufBuilder().numbers("k", kU16, std::vector<uint16_t>(5000)).bytes(),
                ErrorCode::kCorrupt, "small numbers");
}
