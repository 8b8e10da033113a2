#pragma once
#include <string_view>

#include "json_file.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/tokenizer_config.h"

namespace spnl::modelkit {

/// A model of SentencePiece (tokenizer.model): unigram and BPE. Control tokens in a text are found
/// first; what lies between them is encoded as SentencePiece does. Throws Error(kCorrupt) and
/// kUnsupported.
Pipeline read_sentencepiece(std::string_view model, const std::string& name,
                            const TokenizerConfig& config);
/// Mistral's tekken.json. Throws Error likewise.
Pipeline read_tekken(const JsonFile& file, const TokenizerConfig& config);
/// Lines "base64 rank" (*.tiktoken); `recipe` names the pre-tokenizer, which is not in the file.
Pipeline read_tiktoken(std::string_view text, const std::string& name, std::string_view recipe,
                       const TokenizerConfig& config);
/// GPT-2's pair vocab.json and merges.txt; `recipe` as above.
Pipeline read_vocab_and_merges(const JsonFile& vocab, std::string_view merges,
                               std::string_view recipe, const TokenizerConfig& config);

/// The parts of tokenizer_from_folder()'s result, which throws likewise.
Pipeline pipeline_of_folder(const std::filesystem::path& folder);

}  // namespace spnl::modelkit
