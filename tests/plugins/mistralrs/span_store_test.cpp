// What is kept on disk: the same bits for whom it is meant, nothing for anybody else.
#include "cache/span_store.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "random_model.h"
#include "span_client.h"
#include "temporary_folder.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;
namespace fs = std::filesystem;
namespace modelkit = spnl::modelkit;

namespace {

constexpr uint32_t kTokens = 5;  // of an answer

std::vector<fs::path> files_of(const fs::path& folder, const std::string& extension = ".kv") {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == extension) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

uint64_t bytes_of(const fs::path& folder) {
  uint64_t bytes = 0;
  for (const fs::path& file : files_of(folder)) bytes += fs::file_size(file);
  return bytes;
}

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put_content(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// One thread: many short steps, and teams wait for each other on a machine that is busy.
Settings in_memory() {
  Settings s = base();
  s.threads = 1;
  return s;
}

Settings on_disk(const fs::path& folder) {
  Settings s = in_memory();
  s.disk.folder = folder;
  s.disk.worth = 0;
  return s;
}

struct Loaded {
  Loaded(const Settings& settings, const fs::path& path = kModel)
      : model(
            path, {}, settings, [](uint64_t, uint64_t) { return true; },
            [this](const std::string& text) { notes.push_back(text); }) {}
  uint64_t computed() { return model.runtime()->counters.prefill_tokens; }

  std::vector<std::string> notes;
  Model model;
};

/// One session's answers to some prompts.
std::vector<Answer> answers_of(Model& model, const std::vector<SpanPrompt>& prompts,
                               const std::vector<SpanRequest>& requests) {
  Asker asker(model);
  for (size_t i = 0; i < prompts.size(); ++i) asker.ask(prompts[i], requests[i], kTokens);
  return asker.answers;
}

std::vector<Answer> answers_of(const Settings& settings, const std::vector<SpanPrompt>& prompts,
                               const std::vector<SpanRequest>& requests) {
  Loaded loaded(settings);
  return answers_of(loaded.model, prompts, requests);
}

bool same_bits(const std::vector<Answer>& a, const std::vector<Answer>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Answer& x, const Answer& y) {
    return x.tokens == y.tokens && x.logprobs == y.logprobs;
  });
}

int64_t in_fragments(const Answer& answer, const SpanPrompt& prompt) {
  int64_t computed = 0;
  for (const auto& span : prompt.spans) computed += answer.computed(span);
  return computed;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_restarted_model_reads_what_it_computed) {
  for (const auto type : {cpu::KvType::kF32, cpu::KvType::kF16, cpu::KvType::kBF16})
    for (const SpanMode mode : {SpanMode::kBlock, SpanMode::kBlend}) {
      const TemporaryFolder folder;
      Settings settings = in_memory(), disk = on_disk(folder.path);
      settings.kv_type = disk.kv_type = type;
      const std::vector<SpanPrompt> prompts = {documents({0, 1, 2, 3}), documents({3, 1, 0})};
      const std::vector<SpanRequest> requests = {spans_of(prompts[0], mode, 5),
                                                 spans_of(prompts[1], mode, 5)};
      const auto want = answers_of(settings, prompts, requests);
      BOOST_TEST(same_bits(answers_of(disk, prompts, requests), want));
      BOOST_TEST(files_of(folder.path).size() == 5u);  // with the preamble
      for (const int32_t block_size : {32, 7}) {       // of the reader, whatever the writer's was
        disk.block_size = block_size;
        Loaded again(disk);
        const auto warm = answers_of(again.model, prompts, requests);
        BOOST_TEST(same_bits(warm, want), "block size " << block_size);
        for (size_t i = 0; i < prompts.size(); ++i) {
          const int64_t fresh =
              mode == SpanMode::kBlend ? 5 * (std::ssize(prompts[i].spans) - 1) : 0;
          BOOST_TEST(in_fragments(warm[i], prompts[i]) == fresh);
          BOOST_TEST(warm[i].computed() == fresh + 13);
        }
        BOOST_TEST(again.computed() ==
                   static_cast<uint64_t>(warm[0].computed() + warm[1].computed()));
        BOOST_TEST(again.notes.empty());
        BOOST_TEST(blocks_in_use(again.model) == 0);
      }
    }
}

BOOST_AUTO_TEST_CASE(any_prompt_has_the_same_bits_from_disk) {
  const TemporaryFolder folder;
  Random random(12);
  std::vector<SpanPrompt> prompts;
  std::vector<SpanRequest> requests;
  for (int i = 0; i < 40; ++i) {
    prompts.push_back(random_prompt(random, {.depth = 3}));
    requests.push_back(spans_of(prompts.back(), static_cast<SpanMode>(random() % 3), 4,
                                static_cast<SpanContext>(random() % 4)));
  }
  Settings settings = in_memory();
  settings.block_size = 8;
  Settings disk = on_disk(folder.path);
  disk.block_size = 8;
  const auto want = answers_of(settings, prompts, requests);
  for (int run = 0; run < 2; ++run) {
    Loaded loaded(disk);
    BOOST_TEST(same_bits(answers_of(loaded.model, prompts, requests), want), "run " << run);
    BOOST_TEST(loaded.notes.empty());
    BOOST_TEST(blocks_in_use(loaded.model) == 0);
  }
}

// Evicted from memory and read again, many at once, with cancels.
BOOST_AUTO_TEST_CASE(the_state_of_memory_and_disk_changes_nothing) {
  const TemporaryFolder folder;
  Random random(3);
  Settings settings = in_memory();
  settings.block_size = 8;
  std::vector<SpanPrompt> prompts;
  std::vector<SpanRequest> requests;
  for (int i = 0; i < 12; ++i) {
    prompts.push_back(documents({i % 5, (i * 3 + 1) % 5, (i / 2) % 5}, 30, i));
    requests.push_back(spans_of(prompts.back(), i % 2 == 0 ? SpanMode::kBlock : SpanMode::kBlend));
  }
  Loaded plain(settings);
  const auto want = answers_of(plain.model, prompts, requests);
  Settings tight = on_disk(folder.path);
  tight.block_size = 8;
  tight.kv_bytes = 60 * plain.model.runtime()->cache->block_bytes().both();
  for (int round = 0; round < 3; ++round) {
    Loaded loaded(tight);
    Asker asker(loaded.model);
    std::vector<std::pair<size_t, size_t>> asked;  // answer, prompt
    for (int i = 0; i < 30; ++i) {
      const size_t p = random() % prompts.size();
      const size_t a = asker.submit(prompts[p], requests[p], kTokens);
      if (random() % 6 == 0)
        asker.session.cancel(asker.sequences[a]);
      else
        asked.emplace_back(a, p);
      for (size_t steps = random() % 3; steps > 0; --steps) asker.session.step();
    }
    asker.run();
    for (const auto& [a, p] : asked)
      BOOST_TEST(same_bits({asker.answers[a]}, {want[p]}), "round " << round << ", prompt " << p);
    BOOST_TEST(blocks_in_use(loaded.model) == 0);
  }
}

// Another type, other kernels, other metadata, other weights, another folder, another context.
BOOST_AUTO_TEST_CASE(nobody_else_reads_it) {
  const TemporaryFolder folder, other_folder;
  const SpanPrompt prompt = documents({0, 1});
  const SpanRequest request = spans_of(prompt, SpanMode::kBlock);
  const int64_t all = 37 + 38;
  const auto computed = [&](const Settings& settings, const fs::path& path = kModel,
                            const SpanPrompt* changed = nullptr,
                            SpanContext context = SpanContext::kPreamble) {
    const SpanPrompt& asked = changed == nullptr ? prompt : *changed;
    Loaded loaded(settings, path);
    return in_fragments(
        Asker(loaded.model).ask(asked, spans_of(asked, SpanMode::kBlock, 0, context)), asked);
  };
  const Settings settings = on_disk(folder.path);
  BOOST_TEST(computed(settings) == all);
  BOOST_TEST(computed(settings) == 0);
  Settings other = settings;
  other.kv_type = cpu::KvType::kF32;
  BOOST_TEST(computed(other) == all);
  other = settings;
  other.isa = "scalar";
  BOOST_TEST(computed(other) == all);
  const fs::path renamed = other_folder.path / "renamed.gguf";
  std::string model = content_of(kModel);
  const size_t name = model.find("general.name");
  BOOST_TEST_REQUIRE(name != std::string::npos);
  model[name + std::string("general.name").size() + 4 + 8] ^= 1;  // after its type and length
  put_content(renamed, model);
  BOOST_TEST(computed(settings, renamed) == all);
  model = content_of(kModel);
  model[model.size() - 100] ^= 1;  // of the last tensor
  put_content(renamed, model);
  BOOST_TEST(computed(settings, renamed) == all);
  BOOST_TEST(computed(on_disk(other_folder.path / "cache")) == all);
  SpanPrompt changed = prompt;
  ++changed.ids[changed.preamble - 1];
  BOOST_TEST(computed(settings, kModel, &changed) == all);
  BOOST_TEST(computed(settings, kModel, &prompt, SpanContext::kBos) == all);
  BOOST_TEST(computed(settings, kModel, &prompt, SpanContext::kNone) == all);
  BOOST_TEST(computed(settings) == 0);  // and it is still there
}

BOOST_AUTO_TEST_CASE(one_time_text_is_not_written) {
  const TemporaryFolder folder;
  SpanPrompt prompt = documents({0, 1, 2});
  prompt.spans[1].no_store = true;
  const auto is_on_disk = [&](const modelkit::EncodedSpan& span) {
    const std::string ids(reinterpret_cast<const char*>(&prompt.ids[span.begin]),
                          (span.end - span.begin) * sizeof(int32_t));
    const auto files = files_of(folder.path);
    return std::any_of(files.begin(), files.end(), [&](const fs::path& file) {
      return content_of(file).find(ids) != std::string::npos;
    });
  };
  const auto run = [&](int64_t storable) {
    Loaded loaded(on_disk(folder.path));
    SpanRequest request = spans_of(prompt, SpanMode::kBlock);
    request.storable_tokens = storable;
    return Asker(loaded.model).ask(prompt, request);
  };
  run(0);  // its preamble is one-time text, and the fragments see it
  BOOST_TEST(files_of(folder.path).empty());
  run(1 << 20);
  BOOST_TEST(is_on_disk(prompt.spans[0]));
  BOOST_TEST(!is_on_disk(prompt.spans[1]));
  BOOST_TEST(is_on_disk(prompt.spans[2]));
  const Answer again = run(1 << 20);
  BOOST_TEST(again.computed(prompt.spans[0]) == 0);
  BOOST_TEST(again.computed(prompt.spans[1]) == 38);
}

BOOST_AUTO_TEST_CASE(two_engines_share_a_folder_at_the_same_time) {
  const TemporaryFolder folder;
  std::vector<SpanPrompt> prompts;
  std::vector<SpanRequest> requests;
  for (int i = 0; i < 10; ++i) {
    prompts.push_back(documents({i, i + 1, i + 2}, 20, i));
    requests.push_back(spans_of(prompts.back(), SpanMode::kBlock));
  }
  Settings settings = in_memory();
  const auto want = answers_of(settings, prompts, requests);
  Settings disk = on_disk(folder.path / "made" / "by both");
  std::vector<std::vector<Answer>> got(2);
  std::vector<std::thread> threads;
  for (auto& answers : got)
    threads.emplace_back([&, out = &answers] {
      Loaded loaded(disk);
      *out = answers_of(loaded.model, prompts, requests);
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto& answers : got) BOOST_TEST(same_bits(answers, want));
  BOOST_TEST(files_of(folder.path).size() == 13u);
  BOOST_TEST(files_of(folder.path, ".tmp").empty());
  Loaded third(disk);
  const auto answers = answers_of(third.model, prompts, requests);
  BOOST_TEST(same_bits(answers, want));
  for (size_t i = 0; i < prompts.size(); ++i) BOOST_TEST(in_fragments(answers[i], prompts[i]) == 0);
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_costs_a_note) {
  const TemporaryFolder folder;
  const SpanPrompt prompt = documents({0, 1});
  const SpanRequest request = spans_of(prompt, SpanMode::kBlock);
  put_content(folder.path / "file", "no folder");
  fs::create_directory(folder.path / "foreign");
  put_content(folder.path / "foreign" / "secret", "not sixteen bytes");
  for (const char* name : {"file", "file/below", "foreign"}) {
    Loaded loaded(on_disk(folder.path / name));
    BOOST_TEST(loaded.notes.size() == 1u);
    BOOST_TEST(loaded.notes.front().find(name) != std::string::npos);
    Asker asker(loaded.model);
    asker.ask(prompt, request);
    BOOST_TEST(asker.ask(prompt, request).computed() == 1);  // as ever, in memory
  }
  BOOST_TEST(content_of(folder.path / "foreign" / "secret") == "not sixteen bytes");
}

// As on a full disk: a file cannot grow.
BOOST_AUTO_TEST_CASE(a_full_disk_costs_a_note) {
  const TemporaryFolder folder;
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small = {5000, limit.rlim_max};
  const SpanPrompt prompt = documents({0, 1, 2});
  auto loaded = std::make_unique<Loaded>(on_disk(folder.path));
  ::setrlimit(RLIMIT_FSIZE, &small);
  const Answer answer = Asker(loaded->model).ask(prompt, spans_of(prompt, SpanMode::kBlock));
  loaded->model.runtime()->disk->close();
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, before);
  BOOST_TEST(answer.tokens.size() == 1u);
  BOOST_TEST(loaded->notes.size() == 1u);
  BOOST_TEST(files_of(folder.path).empty());
  BOOST_TEST(files_of(folder.path, ".tmp").empty());
}

namespace {

const modelkit::ModelSpec& some_spec() {
  static const auto models = random_models(modelkit::TensorType::kF32);
  return models.front().second;
}

/// Chains of random rows, in a cache of its own.
class Store {
 public:
  static constexpr int32_t kRows = 11;

  explicit Store(const fs::path& folder, uint64_t max_bytes = 1 << 30, double worth = 0)
      : memory_(some_spec(), cpu::KvType::kF16, 4, 6),
        files(std::make_unique<SpanStore>(
            SpanStore::Options{folder, max_bytes, worth},
            [](ChainHasher& hasher) { hasher.add("a model"); }, memory_,
            [this](const std::string& text) { notes.push_back(text); })) {
    for (int32_t i = 0; i < kRows; ++i) ids_.push_back(40 + i), positions_.push_back(i);
  }

  void write(int32_t number) {
    Random random(static_cast<uint32_t>(number));
    for (size_t layer = 0; layer < memory_.layers(); ++layer) {
      std::vector<std::byte> rows(memory_.bytes_of_rows(layer, kRows));
      for (std::byte& byte : rows) byte = static_cast<std::byte>(random());
      memory_.load_rows(layer, kBlocks, 0, kRows, rows.data());
    }
    files->write(end_of(number), chain(number), kBlocks);
  }
  /// Whether all rows are read as they were written.
  bool read(int32_t number) {
    for (size_t layer = 0; layer < memory_.layers(); ++layer) {
      const std::vector<std::byte> zeros(memory_.bytes_of_rows(layer, kRows));
      memory_.load_rows(layer, kBlocks, 0, kRows, zeros.data());
    }
    if (!files->read(end_of(number), chain(number), kBlocks, 0)) return false;
    Random random(static_cast<uint32_t>(number));
    for (size_t layer = 0; layer < memory_.layers(); ++layer) {
      std::vector<std::byte> rows(memory_.bytes_of_rows(layer, kRows));
      memory_.save_rows(layer, kBlocks, kRows, rows.data());
      for (const std::byte byte : rows)
        BOOST_TEST_REQUIRE((byte == static_cast<std::byte>(random())));
    }
    return true;
  }
  uint64_t file_bytes() const { return SpanFileLayout(memory_, kRows).bytes(); }
  const KvCache& memory() const { return memory_; }

 private:
  static constexpr std::array<int32_t, 3> kBlocks = {4, 1, 3};
  static ChainKey end_of(int32_t number) { return {static_cast<uint64_t>(number), 5}; }
  Chain chain(int32_t number) {
    ids_[0] = number;
    return {{7, 7}, ids_, positions_};
  }

  KvCache memory_;
  std::vector<int32_t> ids_, positions_;

 public:
  std::vector<std::string> notes;
  std::unique_ptr<SpanStore> files;
};

/// The file of one chain, to be damaged.
struct Written {
  Written() {
    Store(folder.path).write(1);
    file = files_of(folder.path).at(0);
    content = content_of(file);
  }
  /// Whether the chain is read; false also when a note is missing.
  bool reads() {
    Store store(folder.path);
    const bool read = store.read(1);
    BOOST_TEST(store.notes.size() == (read ? 0u : 1u));
    return read;
  }

  const TemporaryFolder folder;
  fs::path file;
  std::string content;
};

/// Begins as our files do.
bool seems_ours(const std::string& content) {
  return content.size() >= 88 && content.compare(0, 9, std::string("spnlspan\1", 9)) == 0 &&
         content.compare(9, 3, std::string(3, '\0')) == 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(files_come_back_and_are_private) {
  Written written;
  BOOST_TEST(written.reads());
  for (const fs::path& path : {written.file, written.folder.path / "secret"}) {
    struct stat found;
    BOOST_TEST(::stat(path.c_str(), &found) == 0);
    BOOST_TEST((found.st_mode & 0777) == 0600u);
  }
  BOOST_TEST(seems_ours(written.content));
  BOOST_TEST(written.content.size() % 4096 == 0u);
  Store store(written.folder.path);
  BOOST_TEST(!store.read(2));  // never written: no note
  BOOST_TEST(store.notes.empty());
}

BOOST_AUTO_TEST_CASE(a_file_that_was_cut_is_no_hit) {
  Written written;
  Store store(written.folder.path);
  for (size_t length = 0; length < written.content.size();
       length += length < 400 ? 1 : 1 + length / 7) {
    put_content(written.file, written.content.substr(0, length));
    BOOST_TEST(!store.read(1), length << " bytes");
    BOOST_TEST(fs::exists(written.file) == !seems_ours(written.content.substr(0, length)));
  }
  put_content(written.file, written.content + "x");
  BOOST_TEST(!store.read(1));
  BOOST_TEST(store.notes.size() == 1u);  // for all of them
  put_content(written.file, written.content);
  BOOST_TEST(store.read(1));
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_is_no_hit_wherever_it_is) {
  Written written;
  Store store(written.folder.path);
  for (size_t at = 0; at < written.content.size(); at += at < 700 ? 1 : 61) {
    std::string damaged = written.content;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    put_content(written.file, damaged);
    BOOST_TEST(!store.read(1), "byte " << at);
    BOOST_TEST(fs::exists(written.file) == !seems_ours(damaged));
  }
}

BOOST_AUTO_TEST_CASE(foreign_things_are_no_hit_and_stay) {
  Written written;
  const fs::path copy = written.folder.path / "copy";
  put_content(copy, written.content);
  const std::vector<std::function<void()>> things = {
      [&] { put_content(written.file, std::string(written.content.size(), 'x')); },
      [&] { put_content(written.file, "a short text"); },
      [&] { fs::create_directory(written.file); },
      [&] { fs::create_symlink(copy, written.file); },
      [&] { fs::create_symlink(written.folder.path / "nowhere", written.file); },
      [&] { BOOST_TEST(::mkfifo(written.file.c_str(), 0600) == 0); }};
  for (const auto& make : things) {
    fs::remove(written.file);
    make();
    BOOST_TEST(!written.reads());
    Store store(written.folder.path);
    store.write(1);  // does not take its place
    store.files->close();
    BOOST_TEST(!written.reads());
    BOOST_TEST(fs::exists(fs::symlink_status(written.file)));
  }
  BOOST_TEST(content_of(copy) == written.content);
}

BOOST_AUTO_TEST_CASE(a_file_under_the_name_of_another_is_no_hit) {
  Written written;
  Store(written.folder.path).write(2);
  const auto files = files_of(written.folder.path);
  BOOST_TEST_REQUIRE(files.size() == 2u);
  const fs::path aside = written.folder.path / "aside";
  fs::rename(files[0], aside);
  fs::rename(files[1], files[0]);
  fs::rename(aside, files[1]);
  Store store(written.folder.path);
  BOOST_TEST(!store.read(1));
  BOOST_TEST(!store.read(2));
  BOOST_TEST(store.notes.size() == 1u);  // for both
  // Nor one that was made with the secret of another folder.
  Written other;
  fs::create_directories(written.file.parent_path());
  put_content(written.file, other.content);
  BOOST_TEST(!written.reads());
}

BOOST_AUTO_TEST_CASE(the_first_secret_is_everybodys) {
  for (int round = 0; round < 20; ++round) {
    const TemporaryFolder folder;
    std::vector<ChainSecret> secrets(8);
    std::vector<std::thread> threads;
    for (ChainSecret& secret : secrets)
      threads.emplace_back(
          [&, out = &secret] { *out = SpanFolder(folder.path / "new", 1 << 20).secret(); });
    for (std::thread& thread : threads) thread.join();
    BOOST_TEST((secrets == std::vector<ChainSecret>(8, secrets.front())));
    BOOST_TEST((secrets.front() != ChainSecret{}));
    BOOST_TEST(files_of(folder.path, ".tmp").empty());
  }
}

BOOST_AUTO_TEST_CASE(a_folder_stays_within_its_size) {
  const TemporaryFolder folder;
  const uint64_t each = Store(folder.path).file_bytes(), most = 8 * each + 100;
  const auto used_at = [&](const fs::path& file, time_t seconds) {
    const timespec times[] = {{seconds, 0}, {0, UTIME_OMIT}};
    BOOST_TEST(::utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
  };
  for (int32_t i = 0; i < 8; ++i) {
    const auto before = files_of(folder.path);
    Store(folder.path, most).write(i);
    for (const fs::path& file : files_of(folder.path))
      if (std::find(before.begin(), before.end(), file) == before.end()) used_at(file, 1000 + i);
  }
  const fs::path group = files_of(folder.path).at(0).parent_path();
  const std::string foreign(most, 'x'), name(32, '0');
  put_content(group / "notes.txt", foreign);
  put_content(group / (name + ".kv"), "ours by name alone");
  used_at(group / (name + ".kv"), 1);
  const fs::path abandoned = group / ("." + name + ".tmp"), begun = group / ("." + name + "0.tmp");
  put_content(abandoned, "old");
  put_content(begun, "other");
  fs::last_write_time(abandoned, fs::file_time_type::clock::now() - std::chrono::hours(2));
  BOOST_TEST(Store(folder.path, most).read(0));  // used now
  {
    Store store(folder.path, most);
    store.write(8);
    store.files->close();
    BOOST_TEST(bytes_of(folder.path) <= most);
    BOOST_TEST(store.read(0));
    BOOST_TEST(!store.read(1));
    BOOST_TEST(store.read(7));
    BOOST_TEST(store.read(8));
  }
  BOOST_TEST(content_of(group / "notes.txt") == foreign);
  BOOST_TEST(fs::exists(group / (name + ".kv")));
  BOOST_TEST(!fs::exists(abandoned));
  BOOST_TEST(fs::exists(begun));
  // Two that write at once, and one that may have less.
  std::vector<std::thread> threads;
  for (int32_t t = 0; t < 2; ++t)
    threads.emplace_back([&, t] {
      Store store(folder.path, most);
      for (int32_t i = 0; i < 30; ++i) store.write(100 * (t + 1) + i);
    });
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(bytes_of(folder.path) <= most + 2 * each);
  Store(folder.path, most).write(500);
  BOOST_TEST(bytes_of(folder.path) <= most);
  Store(folder.path, 2 * each).write(501);
  BOOST_TEST(bytes_of(folder.path) <= 2 * each);
  Store(folder.path, each - 1).write(502);  // can never fit
  BOOST_TEST(!Store(folder.path).read(502));
}

BOOST_AUTO_TEST_CASE(what_is_computed_sooner_than_read_is_not_written) {
  const TemporaryFolder folder;
  Store store(folder.path, 1 << 30, 2);
  store.files->set_seconds_per_token(1e-9);
  store.write(1);
  store.files->set_seconds_per_token(1);
  store.write(2);
  store.files->close();
  BOOST_TEST(!store.read(1));
  BOOST_TEST(store.read(2));
}
