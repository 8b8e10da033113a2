#pragma once
#include <cstdint>
#include <filesystem>
#include <span>

#include "cache/span_file.h"

namespace spnl::mistralrs {

/// An open file, closed at the end. -1: none.
class OpenFile {
 public:
  explicit OpenFile(int number) : number_(number) {}
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int number() const { return number_; }

 private:
  const int number_;
};

/// A folder of span files, for any number of processes at once: FOLDER/secret, made by whoever is
/// first, and FOLDER/GROUP/END.kv. A file's name says what is in it, so two that write the same one
/// do no harm, and files appear whole: written under another name, then renamed. One thread at a
/// time may write; open() and remove() are for any.
class SpanFolder {
 public:
  /// Makes the folder and its secret where they are missing. Throws modelkit::Error(kIo) naming
  /// what cannot be made or read.
  SpanFolder(std::filesystem::path folder, uint64_t max_bytes);

  const std::filesystem::path& path() const { return folder_; }
  const ChainSecret& secret() const { return secret_; }

  bool has(const SpanName& name) const;  ///< anything of that name, whatever it is
  /// For reading, and marks it as used now. -1: there is none, or it cannot be opened, as a link.
  int open(const SpanName& name) const;
  /// Removes a file that cannot be used, if it begins like one of ours.
  void remove(const SpanName& name) const;

  /// Writes a sealed image, unless there is something of its name or it is larger than the folder
  /// may be. Files that were used longest ago go before that. Throws std::system_error, and then
  /// leaves nothing behind. False: it was not written.
  bool write(const SpanImage& image);
  /// Removes the files that were used longest ago until `room` more bytes fit.
  void make_room(uint64_t room);

 private:
  std::filesystem::path file_of(const SpanName& name) const;

  const std::filesystem::path folder_;
  const uint64_t max_bytes_;
  ChainSecret secret_;
  uint64_t bytes_ = 0;       // in the folder when it was last looked through, and written since
  uint64_t until_look_ = 0;  // bytes that may be written before it is looked through again
};

}  // namespace spnl::mistralrs
