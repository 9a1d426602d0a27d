// SPDX-License-Identifier: MIT
// Which engine was fastest for each convolution, remembered between runs in a small file for each card and
// version of cuDNN; beside it, in a folder, plans with the kernels that cuDNN compiled for them. None of that
// is ever needed: what is wrong with it is passed over in silence, and done again.
#pragma once

#include <segnet/backend/cuda/cudnn_graph.hpp>
#include <segnet/io/file.hpp>

#include <nlohmann/json.hpp>

#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <system_error>
#include <utility>

namespace segnet::gpu {

/// For what the notes of a file hold.
struct engine_cache_scope {
  std::string card;         ///< its name, as the driver says it
  int capability = 0;       ///< 10 * major + minor
  std::size_t version = 0;  ///< of cuDNN, as it numbers them
  friend bool operator==(const engine_cache_scope&, const engine_cache_scope&) = default;
};

/// What is known about one problem.
struct engine_note {
  engine_choice choice;
  unsigned dropped = 0;  ///< the fusions of the problem that are left to other kernels, see convolution_plan
  double milliseconds = 0;  ///< that it took
  friend bool operator==(const engine_note&, const engine_note&) = default;
};

class engine_cache {
 public:
  /// Remembers until the program ends.
  engine_cache() = default;
  /// Reads `file` if there is one for `scope`; save() writes it. An empty path: as engine_cache().
  engine_cache(std::filesystem::path file, engine_cache_scope scope)
      : file_(std::move(file)), scope_(std::move(scope)), notes_(read()) {}
  /// The file of this scope in folder().
  explicit engine_cache(const engine_cache_scope& scope) : engine_cache(path_of(scope), scope) {}

  /// $SEGNET_CACHE_DIR, else segnet in $XDG_CACHE_HOME, else .cache/segnet in $HOME; empty where none is set.
  static std::filesystem::path folder() {
    const auto variable = [](const char* name) {
      const char* value = std::getenv(name);
      return std::filesystem::path(value != nullptr ? value : "");
    };
    if (const auto own = variable("SEGNET_CACHE_DIR"); !own.empty()) return own;
    if (const auto cache = variable("XDG_CACHE_HOME"); !cache.empty()) return cache / "segnet";
    if (const auto home = variable("HOME"); !home.empty()) return home / ".cache" / "segnet";
    return {};
  }
  /// engines-<card>-<version>.json in folder(), the card's name without characters that file names should not
  /// have; empty where there is no folder.
  static std::filesystem::path path_of(const engine_cache_scope& scope) {
    const std::filesystem::path in = folder();
    if (in.empty()) return {};
    std::string card;
    for (const char c : scope.card)
      if (std::isalnum(static_cast<unsigned char>(c)) != 0)
        card += c;
      else if (!card.empty() && card.back() != '-')
        card += '-';
    return in / ("engines-" + card + "-" + cudnn_version_text(scope.version) + ".json");
  }

  /// Null where nothing is known.
  const engine_note* find(const std::string& problem) const {
    const auto found = notes_.find(problem);
    return found != notes_.end() ? &found->second : nullptr;
  }
  void remember(const std::string& problem, const engine_note& note) {
    notes_[problem] = note;
    changed_ = true;
  }
  std::size_t size() const { return notes_.size(); }

  /// Writes what is new together with what other programs have written since. Never throws; false where the
  /// file could not be written.
  bool save() noexcept {
    if (!changed_ || file_.empty()) return true;
    try {
      std::map<std::string, engine_note> all = read();
      for (const auto& [problem, note] : notes_) all[problem] = note;
      nlohmann::json engines = nlohmann::json::object();
      for (const auto& [problem, note] : all)
        engines[problem] = {{"engine", note.choice.engine},
                            {"knobs", note.choice.knobs},
                            {"dropped", note.dropped},
                            {"milliseconds", note.milliseconds}};
      const nlohmann::json whole{{"card", scope_.card},
                                 {"compute_capability", scope_.capability},
                                 {"cudnn", scope_.version},
                                 {"engines", engines}};
      if (file_.has_parent_path()) create_folder(file_.parent_path());
      // A card's name that is not UTF-8 would make dump() throw.
      const std::string text = whole.dump(1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
      atomic_write(
          file_, [&](file_sink& sink) { sink.write(text); }, durability::renamed);
      changed_ = false;
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  /// Keeps a plan's text, of some 50 to 300 KB, for the next run; an empty one is nothing to keep. Never
  /// throws.
  void store(const std::string& problem, const engine_note& note, const std::string& plan) const noexcept {
    if (plan.empty() || file_.empty()) return;
    try {
      const std::filesystem::path file = plan_file(problem);
      create_folder(file.parent_path());
      atomic_write(
          file, [&](file_sink& sink) { sink.write(title(problem, note) + plan); }, durability::renamed);
    } catch (const std::exception&) {
    }
  }
  /// What store() kept for this problem and engine; empty where there is nothing.
  std::string stored(const std::string& problem, const engine_note& note) const {
    if (file_.empty()) return {};
    const std::string text = content(plan_file(problem)), expected = title(problem, note);
    return text.starts_with(expected) ? text.substr(expected.size()) : std::string();
  }

 private:
  /// Notes are a few hundred bytes each.
  static constexpr std::uintmax_t largest_file = std::uintmax_t{16} << 20;

  /// What the file says, as far as it makes sense; nothing where it is not one of ours, or of another scope.
  std::map<std::string, engine_note> read() const {
    std::map<std::string, engine_note> found;
    try {
      const auto whole = nlohmann::json::parse(content(file_));
      if (engine_cache_scope{whole.at("card"), whole.at("compute_capability"), whole.at("cudnn")} != scope_)
        return found;
      for (const auto& [name, each] : whole.at("engines").items())
        found[name] = {{each.at("engine").get<std::int64_t>(),
                        each.at("knobs").get<std::vector<std::pair<std::int64_t, std::int64_t>>>()},
                       each.at("dropped").get<unsigned>(),
                       each.at("milliseconds").get<double>()};
    } catch (const std::exception&) {  // what was read so far is good
    }
    return found;
  }

  /// Of a regular file that is not too large; else empty.
  static std::string content(const std::filesystem::path& file) {
    std::error_code problem;
    if (!std::filesystem::is_regular_file(file, problem)) return {};
    const std::uintmax_t size = std::filesystem::file_size(file, problem);
    if (problem || size > largest_file) return {};
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  /// In a folder called as the file, but for the ending. Different problems may share a name: see title().
  std::filesystem::path plan_file(const std::string& problem) const {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (const char c : problem) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    char name[17];
    std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(hash));
    return std::filesystem::path(file_).replace_extension(".plans") / (std::string(name) + ".plan");
  }
  /// The first line of a plan's file: what it is for.
  static std::string title(const std::string& problem, const engine_note& note) {
    return problem + "; engine " + std::to_string(note.choice.engine) + ", " +
           nlohmann::json(note.choice.knobs).dump() + ", without " + std::to_string(note.dropped) + "\n";
  }

  std::filesystem::path file_;
  engine_cache_scope scope_;
  std::map<std::string, engine_note> notes_;
  bool changed_ = false;
};

}  // namespace segnet::gpu
