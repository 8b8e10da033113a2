#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/loaded_model.h"
#include "spnl/backends.h"

namespace spnl::backends {

/// The models in memory. One that nobody holds any more stays, so that the next to name it need not
/// wait; it leaves, least recently used first, when another model needs its memory. Loader thread
/// only.
class ResidentModels {
 public:
  using Note = std::function<void(const std::string&)>;

  /// `limit`: bytes for all models together; empty: what the system has free.
  /// `note` hears of each model that leaves.
  ResidentModels(std::optional<uint64_t> limit, Note note)
      : limit_(limit), note_(std::move(note)) {}

  /// The model that was added with `key`; null when it is not here.
  std::shared_ptr<Model> find(const std::string& key);
  std::shared_ptr<Model> add(std::string key, std::shared_ptr<LoadedModel> model);

  /// Unloads idle models until `bytes`, of `newcomer`'s files, fit as well. Answers what the
  /// newcomer may use in all, 0 where nothing limits it. Throws Error: kNoRoom when models in use
  /// leave too little of the limit, kNotLoadable when all of it is too little.
  uint64_t make_room(uint64_t bytes, const std::string& newcomer);

  void close_all();

 private:
  struct Resident {
    std::string key;
    std::shared_ptr<LoadedModel> model;
    std::weak_ptr<Model> handle;
  };

  std::shared_ptr<Model> hand_out(Resident& resident);  ///< null: it is closing
  bool fits(uint64_t bytes) const;
  uint64_t used_bytes() const;
  bool unload_oldest(const std::string& newcomer);

  const std::optional<uint64_t> limit_;
  const Note note_;
  std::vector<Resident> residents_;
};

}  // namespace spnl::backends
