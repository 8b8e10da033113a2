// Canonical order: the order in which fragments are given changes nothing, in any mode.
#include <algorithm>
#include <numeric>
#include <set>

#include "client.h"
#include "plugin_requests.h"
#include "spnl/backend.hpp"

using namespace spnl;
using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;

namespace {

/// System text, two groups with a message between them and a question; the groups' texts as told.
class Prompt {
 public:
  Prompt(const std::vector<std::string>& first, const std::vector<std::string>& second) {
    texts_.reserve(64);  // fragments point into it
    add(SPNL_FRAG_MESSAGE, SPNL_ROLE_SYSTEM, -1, "Read the notes.");
    group(first);
    add(SPNL_FRAG_MESSAGE, SPNL_ROLE_USER, -1, "And these.");
    group(second);
    add(SPNL_FRAG_MESSAGE, SPNL_ROLE_USER, -1, "Who is the oldest?");
    for (const spnl_fragment& fragment : fragments_) pointers_.push_back(&fragment);
    prompt_.struct_size = sizeof prompt_;
    prompt_.n_fragments = static_cast<uint32_t>(pointers_.size());
    prompt_.fragments = pointers_.data();
  }

  Request request(const Model& model, int32_t mode, int32_t order) const {
    spnl_sampling sampling{};
    sampling.struct_size = sizeof sampling;
    sampling.set = SPNL_SET_TEMPERATURE | SPNL_SET_MAX_TOKENS;
    sampling.max_tokens = 12;
    spnl_request wire{};
    wire.struct_size = sizeof wire;
    wire.prompt = &prompt_;
    wire.sampling = &sampling;
    wire.span_mode = mode;
    wire.span_order = order;
    wire.span_k = 5;
    return to_request(model, wire);
  }

 private:
  void group(const std::vector<std::string>& texts) {
    const auto parent = static_cast<int32_t>(fragments_.size());
    add(SPNL_FRAG_INDEPENDENT, 0, -1, "");
    for (const std::string& text : texts) add(SPNL_FRAG_MESSAGE, SPNL_ROLE_USER, parent, text);
  }
  void add(int32_t kind, int32_t role, int32_t parent, const std::string& text) {
    texts_.push_back(text);
    spnl_fragment fragment{};
    fragment.struct_size = sizeof fragment;
    fragment.kind = kind;
    fragment.role = role;
    fragment.parent = parent;
    fragment.text = spnl::abi::str(texts_.back());
    fragments_.push_back(fragment);
  }

  std::vector<std::string> texts_;
  std::vector<spnl_fragment> fragments_;
  std::vector<const spnl_fragment*> pointers_;
  spnl_prompt prompt_{};
};

struct Heard {
  std::vector<int32_t> prompt, tokens;
  std::string text;
  auto operator<=>(const Heard&) const = default;
};

Heard ask(Model& model, Request request) {
  Heard heard{request.prompt, {}, ""};
  Client client(model);
  uint64_t id = 0;
  BOOST_TEST_REQUIRE(client.session.submit(std::move(request), id));
  client.run();
  heard.tokens = client.at(0, 0).tokens;
  heard.text = client.at(0, 0).text;
  return heard;
}

}  // namespace

BOOST_AUTO_TEST_CASE(all_permutations_give_the_same_ids_and_text) {
  Settings settings = base();
  settings.threads = 1;
  const auto model = load(kModel, settings);
  for (const int32_t mode : {SPNL_SPAN_EXACT, SPNL_SPAN_BLOCK, SPNL_SPAN_BLEND}) {
    std::set<Heard> canonical, given;
    std::vector<std::string> notes = {"Ann is 31.", "Bob is 28, and tall.", "Cid is 55."};
    do {
      for (const bool turned : {false, true}) {
        std::vector<std::string> more = {"Dan is 9.", "Eve is 77."};
        if (turned) std::reverse(more.begin(), more.end());
        const Prompt prompt(notes, more);
        canonical.insert(ask(*model, prompt.request(*model, mode, SPNL_ORDER_CANONICAL)));
        given.insert(ask(*model, prompt.request(*model, mode, SPNL_ORDER_GIVEN)));
      }
    } while (std::next_permutation(notes.begin(), notes.end()));
    BOOST_TEST(canonical.size() == 1u, "mode " << mode);
    BOOST_TEST(given.size() == 12u, "mode " << mode);  // so it is the order that does it
    BOOST_TEST(!canonical.begin()->tokens.empty());
  }
  BOOST_TEST(used_by_sequences(*model) == 0);
}
