#pragma once
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace spnl::host_test {

/// A file that is gone with its object.
class TemporaryFile {
 public:
  TemporaryFile(const std::string& suffix, const std::string& text) {
    path_ = "/tmp/spnl-host-test-XXXXXX" + suffix;
    int descriptor = ::mkstemps(path_.data(), static_cast<int>(suffix.size()));
    BOOST_REQUIRE(descriptor >= 0);
    ::close(descriptor);
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A folder that is gone with its object, and all in it.
class TemporaryFolder {
 public:
  TemporaryFolder() { BOOST_REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/spnl-host-test-XXXXXX";
};

inline std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace spnl::host_test
