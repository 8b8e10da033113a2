// Folders in Hugging Face's layout: config.json and safetensors, right ones and wrong ones.
#include "spnl/modelkit/safetensors.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "safetensors_builder.h"
#include "spnl/modelkit/config.h"
#include "spnl/modelkit/error.h"

using namespace spnl::modelkit;
using namespace spnl::test;
namespace fs = std::filesystem;

namespace {

/// "" when the folder with these files opens, else the error's text; the code must be `code`.
std::string open_error(const std::vector<std::pair<std::string, std::string>>& files,
                       ErrorCode code = ErrorCode::kCorrupt) {
  const TempDir dir;
  for (const auto& [name, bytes] : files) dir.write(name, bytes);
  try {
    SafetensorsFolder::open(dir.path());
    return "";
  } catch (const Error& error) {
    BOOST_TEST((error.code() == code), error.what());
    BOOST_TEST(std::string_view(error.what()).find('\n') == std::string_view::npos);
    return error.what();
  }
}

/// A file of this header and data, opened.
std::string header_error(const std::string& header, size_t data = 64,
                         ErrorCode code = ErrorCode::kCorrupt) {
  return open_error(
      {{"model.safetensors", SafetensorsBuilder::file(header, std::string(data, 'x'))}}, code);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

Config parse(const std::string& json) { return Config::parse(json, "config.json"); }

std::string config_error(const std::string& json) {
  try {
    parse(json);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(tensors_of_one_file) {
  const TempDir dir;
  SafetensorsBuilder file;
  file.metadata = R"({"format":"pt"})";
  file.add("w", "BF16", {3, 5}, std::string(30, 'a'))
      .add("e", "F32", {2, 3, 4}, std::string(96, 'b'))
      .add("scalar", "F64", {}, std::string(8, 'c'))
      .add("deep", "U8", {2, 3, 1, 2, 2}, std::string(24, 'd'))
      .add("none", "F16", {0, 7}, "");
  dir.write("model.safetensors", file.bytes());
  const auto folder = SafetensorsFolder::open(dir.path());
  BOOST_TEST(folder->path() == dir.path());
  BOOST_TEST(folder->tensors().size() == 5u);
  const Tensor& w = *folder->find("w");
  BOOST_TEST((w.type == TensorType::kBF16));
  BOOST_TEST(w.dims[0] == 5u);
  BOOST_TEST(w.dims[1] == 3u);
  BOOST_TEST(w.rows() == 3u);
  BOOST_TEST((w.data[0] == std::byte{'a'} && w.data[29] == std::byte{'a'}));
  BOOST_TEST(folder->find("e")->dims[2] == 2u);
  BOOST_TEST(folder->find("scalar")->elements() == 1u);
  BOOST_TEST(folder->find("deep")->dims[3] == 6u);  // outer ones multiplied together
  BOOST_TEST(folder->find("none")->bytes == 0u);
  BOOST_TEST(folder->find("x") == nullptr);
}

BOOST_AUTO_TEST_CASE(sharded_models) {
  SafetensorsBuilder one, two, twice;
  one.add("a", "F32", {1}, "aaaa");
  two.add("b", "F32", {1}, "bbbb");
  twice.add("a", "F32", {1}, "AAAA");
  const std::string index =
      R"({"metadata":{"total_size":8},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}})";
  const std::string name = "model.safetensors.index.json";
  const TempDir dir;
  dir.write("m-1.safetensors", one.bytes());
  dir.write("m-2.safetensors", two.bytes());
  dir.write("other.safetensors", twice.bytes());
  dir.write(name, index);
  for (const char* path : {"", "m-2.safetensors"})
    BOOST_TEST(SafetensorsFolder::open(dir.path() / path)->tensors().size() == 2u, path);
  BOOST_TEST(SafetensorsFolder::open(dir.path() / "other.safetensors")->tensors().size() == 1u);

  BOOST_TEST(
      contains(open_error({{name, index}, {"m-1.safetensors", one.bytes()}}, ErrorCode::kNotFound),
               "m-2.safetensors"));
  BOOST_TEST(contains(
      open_error(
          {{name, index}, {"m-1.safetensors", one.bytes()}, {"m-2.safetensors", twice.bytes()}}),
      "'a' occurs twice"));
  for (const char* bad : {"../m.safetensors", "/etc/passwd", "..", ".hidden", "a/b.safetensors", "",
                          "a\\nb.safetensors"})
    BOOST_TEST(contains(open_error({{name, std::string(R"({"weight_map":{"a":")") + bad + "\"}}"}}),
                        "no name of a file"),
               bad);
  BOOST_TEST(contains(open_error({{name, "{}"}}), "names no file"));
  BOOST_TEST(contains(open_error({{name, "{\"weight_map\":{\"a\":"}}), "bad JSON"));
}

BOOST_AUTO_TEST_CASE(folders_without_safetensors) {
  BOOST_TEST(
      contains(open_error({{"config.json", "{}"}}, ErrorCode::kNotFound), "no .safetensors"));
  const std::string pickle =
      open_error({{"pytorch_model.bin", "\x80\x02}q"}}, ErrorCode::kUnsupported);
  BOOST_TEST(contains(pickle, "pytorch_model.bin"));
  BOOST_TEST(contains(pickle, "may run any program"));
  BOOST_TEST(contains(pickle, "safetensors"));
  BOOST_TEST(contains(
      open_error({{"a.safetensors", ""}, {"b.safetensors", ""}}, ErrorCode::kNotFound), "several"));
  BOOST_TEST(contains(open_error({{"model.safetensors", "\x80\x02}qabcdefghi"}}), "PyTorch"));
  BOOST_TEST(contains(
      open_error({{"model.safetensors", "version https://git-lfs.github.com/spec/v1"}}), "LFS"));
  BOOST_TEST(contains(open_error({{"model.safetensors", ""}}), "empty"));
}

BOOST_AUTO_TEST_CASE(headers_that_lie_are_refused) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]}})";
  BOOST_TEST(header_error(good) == "");
  BOOST_TEST(contains(header_error(good, 63), "cut off"));
  // A header's length may look like the start of another format.
  for (size_t pad = 0; pad < 256; ++pad)
    BOOST_TEST_REQUIRE(header_error(good + std::string(pad, ' ')) == "");
  const auto tensor = [](const std::string& dtype, const std::string& shape,
                         const std::string& offsets) {
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
           offsets + "}}";
  };
  BOOST_TEST(contains(header_error(tensor("F32", "[4,4]", "[0,60]")), "takes 60 bytes"));
  BOOST_TEST(contains(header_error(tensor("F32", "[4,4]", "[64,0]")), "lies at bytes"));
  BOOST_TEST(contains(header_error(tensor("F32", "[4,4]", "[0,18446744073709551615]")), "lies at"));
  BOOST_TEST(contains(header_error(tensor("F32", "[4,-4]", "[0,64]")), "whole number"));
  BOOST_TEST(contains(header_error(tensor("F32", "[4.5]", "[0,64]")), "whole number"));
  BOOST_TEST(contains(header_error(tensor("F32", "[4]", "[0]")), "lacks"));
  BOOST_TEST(contains(header_error(tensor("F32", "[4]", "[0,1,2]")), "more than 2 offsets"));
  BOOST_TEST(contains(header_error(tensor("F32", "4", "[0,64]")), "lacks"));
  BOOST_TEST(
      contains(header_error(tensor("F32", "[4294967296,4294967296,16]", "[0,64]")), "overflow"));
  BOOST_TEST(
      contains(header_error(tensor("F32", "[18446744073709551615]", "[0,64]")), "impossible"));
  BOOST_TEST(contains(header_error(tensor("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,16]", "[0,64]")),
                      "dimensions"));
  BOOST_TEST(
      contains(header_error(tensor("C64", "[8]", "[0,64]"), 64, ErrorCode::kUnsupported), "'C64'"));
  BOOST_TEST(contains(header_error(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                                   R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})"),
                      "overlaps"));
  BOOST_TEST(contains(header_error(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                   R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})"),
                      "occurs twice"));
  for (const char* bad :
       {"{\"a\":1}", "{\"a\":[]}", "{\"a\":{}}", "{\"a\"", "[[[[[[[[[[[[1]]]]]]]]]]]]",
        "{\"a\":{\"x\":{\"x\":{\"x\":{\"x\":{\"x\":{\"x\":{\"x\":{\"x\":{}}}}}}}}}}"})
    BOOST_TEST(header_error(bad) != "", bad);
  for (const uint64_t length :
       {uint64_t{0}, uint64_t{1}, uint64_t{100}, UINT64_MAX, UINT64_MAX - 7})
    BOOST_TEST(
        contains(
            open_error({{"model.safetensors", GgufBuilder::raw(length) + std::string(40, 'x')}}),
            "its header counts"),
        length);
}

BOOST_AUTO_TEST_CASE(configurations) {
  const Config config =
      parse(R"(﻿{"n": 4096, "f": 4096.0, "x": 1.5, "neg": -1, "none": null, "yes": true,
    "s": "é", "l": [1, 2], "d": [1, 2.5], "t": ["a"], "b": [true, false], "n": 8,
    "rope": {"factor": 8, "inner": {"k": "v"}}})");
  BOOST_TEST(*config.get_uint("n") == 8u);  // the last counts
  BOOST_TEST(*config.get_uint("f") == 4096u);
  BOOST_TEST(*config.get_float("x") == 1.5);
  BOOST_TEST(*config.get_float("neg") == -1);
  BOOST_TEST(!config.get_uint("none"));
  BOOST_TEST(!config.has("none"));
  BOOST_TEST(!config.get_string("absent"));
  BOOST_TEST(*config.get_bool("yes"));
  BOOST_TEST(*config.get_string("s") == "é");
  BOOST_TEST(config.get_uints("l")->size() == 2u);
  BOOST_TEST(config.get_floats("d")->at(1) == 2.5);
  BOOST_TEST(config.get_bools("b")->at(0));
  BOOST_TEST(config.get_strings("t")->at(0) == "a");
  BOOST_TEST((config.is_list("l") && config.is_object("rope") && !config.is_list("rope")));
  const Config inner = *config.get_object("rope")->get_object("inner");
  BOOST_TEST(*inner.get_string("k") == "v");
  BOOST_TEST(config.keys().size() == 12u);
  const auto names_key = [](const std::string& key) {
    return [key](const Error& error) {
      return error.code() == ErrorCode::kCorrupt &&
             contains(error.what(), "config.json: '" + key + "'");
    };
  };
  BOOST_CHECK_EXCEPTION(config.get_uint("neg"), Error, names_key("neg"));
  BOOST_CHECK_EXCEPTION(config.get_uint("x"), Error, names_key("x"));
  BOOST_CHECK_EXCEPTION(config.get_bool("n"), Error, names_key("n"));
  BOOST_CHECK_EXCEPTION(config.get_floats("t"), Error, names_key("t"));
  BOOST_CHECK_EXCEPTION(config.get_object("n"), Error, names_key("n"));
  BOOST_CHECK_EXCEPTION(inner.get_uint("k"), Error, names_key("rope.inner.k"));
}

BOOST_AUTO_TEST_CASE(configurations_that_are_none) {
  BOOST_TEST(contains(config_error("[]"), "not a JSON object"));
  BOOST_TEST(contains(config_error(""), "bad JSON"));
  BOOST_TEST(contains(config_error("{\"a\":1"), "bad JSON"));
  BOOST_TEST(contains(config_error("{\"a\":" + std::string(100000, '[')), "nested"));
  BOOST_TEST(contains(config_error("{\"a\":\"" + std::string(9 << 20, 'x') + "\"}"), "MiB"));
}
