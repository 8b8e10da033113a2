#include "cache/span_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <type_traits>

namespace spnl::mistralrs {
namespace {

constexpr std::array<char, 8> kMagic = {'s', 'p', 'n', 'l', 's', 'p', 'a', 'n'};
constexpr uint32_t kVersion = 1;
constexpr uint64_t kAlignment = 4096;

/// How the header begins; ids and positions follow.
struct Head {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kVersion, kv_type = 0;
  ChainKey group, root, end;
  uint64_t rows = 0, layers = 0, bytes = 0;
};
static_assert(std::has_unique_object_representations_v<Head>);

uint64_t aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

void put(std::byte*& at, std::span<const std::byte> bytes) {
  at = std::copy(bytes.begin(), bytes.end(), at);
}

/// The header up to the checksums.
void write_head(std::byte* at, const KvCache& memory, const SpanName& name, const Chain& chain,
                const SpanFileLayout& layout) {
  Head head;
  head.kv_type = static_cast<uint32_t>(memory.layer(0).type);
  head.group = name.group;
  head.root = chain.root;
  head.end = name.end;
  head.rows = static_cast<uint64_t>(chain.rows());
  head.layers = memory.layers();
  head.bytes = layout.bytes();
  put(at, std::as_bytes(std::span(&head, 1)));
  put(at, std::as_bytes(chain.ids));
  put(at, std::as_bytes(chain.positions));
}

ChainKey checksum_of_header(const ChainSecret& secret, std::span<const std::byte> header) {
  return chain_hash(secret, header.first(header.size() - sizeof(ChainKey)));
}

ChainKey key_at(const std::byte* at) {
  ChainKey key;
  std::memcpy(&key, at, sizeof key);
  return key;
}

bool read_all(int file, uint64_t offset, std::span<std::byte> to) {
  while (!to.empty()) {
    const ssize_t count = ::pread(file, to.data(), to.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    to = to.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return true;
}

bool has_size(int file, uint64_t bytes) {
  struct stat found;
  return ::fstat(file, &found) == 0 && S_ISREG(found.st_mode) &&
         static_cast<uint64_t>(found.st_size) == bytes;
}

}  // namespace

SpanFileLayout::SpanFileLayout(const KvCache& memory, int64_t rows)
    : checksums(sizeof(Head) + 2 * sizeof(int32_t) * static_cast<uint64_t>(rows)) {
  begin.push_back(aligned(checksums + (memory.layers() + 1) * sizeof(ChainKey)));
  for (size_t layer = 0; layer < memory.layers(); ++layer)
    begin.push_back(aligned(begin.back() + memory.bytes_of_rows(layer, rows)));
}

SpanImage::SpanImage(const KvCache& memory, const SpanName& name, const Chain& chain,
                     const BlockNumbers& blocks)
    : name_(name),
      rows_(static_cast<uint64_t>(chain.rows())),
      layout_(memory, chain.rows()),
      bytes_(layout_.bytes()) {
  write_head(bytes_.data(), memory, name, chain, layout_);
  for (size_t layer = 0; layer < memory.layers(); ++layer)
    memory.save_rows(layer, blocks, chain.rows(), bytes_.data() + layout_.begin[layer]);
}

void SpanImage::seal(const ChainSecret& secret) {
  const std::span<std::byte> all = bytes_, header = all.first(layout_.header_bytes());
  std::byte* at = bytes_.data() + layout_.checksums;
  for (size_t layer = 0; layer + 1 < layout_.begin.size(); ++layer) {
    const uint64_t begin = layout_.begin[layer];
    const ChainKey sum = chain_hash(secret, all.subspan(begin, layout_.begin[layer + 1] - begin));
    put(at, std::as_bytes(std::span(&sum, 1)));
  }
  const ChainKey sum = checksum_of_header(secret, header);
  std::memcpy(header.data() + header.size() - sizeof sum, &sum, sizeof sum);
}

bool read_span_file(int file, const ChainSecret& secret, const SpanName& name, const Chain& chain,
                    KvCache& memory, const BlockNumbers& blocks, int64_t first) {
  const SpanFileLayout layout(memory, chain.rows());
  if (!has_size(file, layout.bytes())) return false;
  std::vector<std::byte> header(layout.header_bytes()), wanted(layout.checksums), rows;
  if (!read_all(file, 0, header)) return false;
  write_head(wanted.data(), memory, name, chain, layout);
  if (!std::equal(wanted.begin(), wanted.end(), header.begin()) ||
      checksum_of_header(secret, header) !=
          key_at(header.data() + header.size() - sizeof(ChainKey)))
    return false;
  for (size_t layer = 0; layer < memory.layers(); ++layer) {
    rows.resize(layout.begin[layer + 1] - layout.begin[layer]);
    if (!read_all(file, layout.begin[layer], rows) ||
        chain_hash(secret, rows) !=
            key_at(header.data() + layout.checksums + layer * sizeof(ChainKey)))
      return false;
    memory.load_rows(layer, blocks, first, chain.rows(), rows.data());
  }
  return true;
}

bool is_span_file(int file) {
  struct stat found;
  Head head;
  return ::fstat(file, &found) == 0 && S_ISREG(found.st_mode) &&
         read_all(file, 0, std::as_writable_bytes(std::span(&head, 1))) && head.magic == kMagic &&
         head.version == kVersion;
}

}  // namespace spnl::mistralrs
