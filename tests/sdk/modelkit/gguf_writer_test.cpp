#include "spnl/modelkit/gguf_writer.h"

#include <signal.h>
#include <sys/resource.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <functional>
#include <iterator>

#include "gguf_builder.h"
#include "spnl/modelkit/error.h"

using namespace spnl::modelkit;
using namespace spnl::test;
namespace fs = std::filesystem;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

size_t files_in(const fs::path& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  BOOST_FAIL("nothing thrown");
  return ErrorCode::kInvalid;
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_written_is_read_back) {
  const TempDir folder;
  const fs::path path = folder.path() / "out.gguf";
  {
    GgufWriter writer(path);
    writer.add_value("general.architecture", std::string_view("llama"));
    writer.add_value("flag", true);
    writer.add_value("u32", uint32_t{4000000000});
    writer.add_value("i32", int32_t{-7});
    writer.add_value("u64", uint64_t{1} << 40);
    writer.add_value("f32", 0.5f);
    const uint64_t vector[] = {3}, matrix[] = {32, 2};
    writer.add_tensor("a", TensorType::kF32, vector);
    writer.add_tensor("b", TensorType::kQ8_0, matrix);
    // Pieces that do not keep to the tensors' borders.
    writer.write(bytes_of("0123456789"));
    writer.write(bytes_of("01" + std::string(34, 'x')));
    writer.write(bytes_of(std::string(34, 'y')));
    BOOST_TEST(!fs::exists(path));
    writer.finish();
  }
  BOOST_TEST(files_in(folder.path()) == 1u);
  const auto file = GgufFile::open(path);
  BOOST_TEST(file->get_string("general.architecture").value() == "llama");
  BOOST_TEST(file->get_bool("flag").value());
  BOOST_TEST(file->get_uint("u32").value() == 4000000000u);
  BOOST_TEST(std::get<int64_t>(*file->find_value("i32")) == -7);
  BOOST_TEST(file->get_uint("u64").value() == uint64_t{1} << 40);
  BOOST_TEST(file->get_float("f32").value() == 0.5);
  const Tensor& a = *file->find("a");
  BOOST_TEST(std::memcmp(a.data, "012345678901", 12) == 0);
  const Tensor& b = *file->find("b");
  BOOST_TEST(b.bytes == 68u);
  BOOST_TEST(std::memcmp(b.data, (std::string(34, 'x') + std::string(34, 'y')).data(), 68) == 0);
}

BOOST_AUTO_TEST_CASE(metadata_of_every_kind_is_copied_byte_for_byte) {
  GgufBuilder from = tiny_llama();
  from.value("u8", kU8, GgufBuilder::raw<uint8_t>(200))
      .value("i8", kI8, GgufBuilder::raw<int8_t>(-2));
  from.value("u16", kU16, GgufBuilder::raw<uint16_t>(60000))
      .value("i64", kI64, GgufBuilder::raw<int64_t>(-1));
  from.value("f64", kF64, GgufBuilder::raw(0.1));
  from.numbers<uint8_t>("flags", kBool, {1, 0, 1}).numbers<int16_t>("short", kI16, {-1, 2});
  const TempDir folder;
  const auto in = GgufFile::open(folder.write("in.gguf", from.bytes()));
  {
    GgufWriter writer(folder.path() / "out.gguf");
    for (const GgufFile::RawValue& value : in->raw_values()) writer.copy_value(value);
    for (const Tensor& tensor : in->tensors())
      writer.add_tensor(tensor.name, tensor.type, {tensor.dims.data(), tensor.n_dims});
    for (const Tensor& tensor : in->tensors()) writer.write({tensor.data, tensor.bytes});
    writer.finish();
  }
  BOOST_TEST((content(folder.path() / "out.gguf") == from.bytes()));
}

BOOST_AUTO_TEST_CASE(an_unfinished_file_leaves_what_was_there) {
  const TempDir folder;
  const fs::path path = folder.write("out.gguf", "before");
  const uint64_t dims[] = {4};
  {
    GgufWriter writer(path);
    writer.add_tensor("a", TensorType::kF32, dims);
    writer.write(bytes_of("0123"));
    BOOST_TEST((code_of([&] { writer.finish(); }) == ErrorCode::kInvalid));
    BOOST_TEST(
        (code_of([&] { writer.write(bytes_of("0123456789abcdef")); }) == ErrorCode::kInvalid));
    BOOST_TEST(
        (code_of([&] { writer.add_tensor("b", TensorType::kF32, dims); }) == ErrorCode::kInvalid));
  }
  BOOST_TEST(content(path) == "before");
  BOOST_TEST(files_in(folder.path()) == 1u);
}

BOOST_AUTO_TEST_CASE(impossible_tensors_are_refused) {
  const TempDir folder;
  GgufWriter writer(folder.path() / "out.gguf");
  const uint64_t odd[] = {100};
  BOOST_TEST(
      (code_of([&] { writer.add_tensor("a", TensorType::kQ4_K, odd); }) == ErrorCode::kInvalid));
  BOOST_TEST((code_of([&] { writer.add_tensor(std::string(64, 'n'), TensorType::kF32, odd); }) ==
              ErrorCode::kInvalid));
}

BOOST_AUTO_TEST_CASE(a_full_disk_and_a_missing_folder_are_clear_errors) {
  const TempDir folder;
  BOOST_TEST(
      (code_of([&] { GgufWriter writer(folder.path() / "none" / "out.gguf"); }) == ErrorCode::kIo));

  // A limit on file sizes stands for a full disk.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{4096, before.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  {
    GgufWriter writer(folder.path() / "out.gguf");
    const uint64_t dims[] = {4 << 20};
    writer.add_tensor("a", TensorType::kF32, dims);
    BOOST_TEST(
        (code_of([&] { writer.write(bytes_of(std::string(8 << 20, 'x'))); }) == ErrorCode::kIo));
  }
  setrlimit(RLIMIT_FSIZE, &before);
  BOOST_TEST(files_in(folder.path()) == 0u);
}
