#include "clusterd/ctl/apply.h"

#include <algorithm>
#include <cstdio>

#include "clusterd/config/declarations_file.h"
#include "clusterd/ctl/show.h"
#include "fencing/agent/agent_metadata.h"

namespace clusterd::ctl {
namespace {

constexpr int kRefused = static_cast<int>(ReplyCode::refused);

struct Told {
  std::string text;
  bool hinders = false;
};

// The review's findings at the places in the files where they were said. What no file mentions
// stands in the stored configuration, and is told by its path.
std::vector<Told> placed(const Json& findings, const LoadedDeclarations& loaded) {
  std::vector<std::pair<ConfigError, bool>> in_files;
  std::vector<Told> told;
  for (const ConfigError& error : loaded.errors) in_files.emplace_back(error, true);
  for (const Json& finding : findings) {
    const std::string path = finding.at("path");
    const bool hinders = finding.at("severity") == "error";
    const std::string message = std::string(hinders ? "" : "warning: ") +
                                (path.empty() ? "" : path + ": ") +
                                finding.at("message").get<std::string>();
    const auto place = find_place(loaded.places, path);
    if (place) {
      in_files.push_back({{*place, message}, hinders});
    } else {
      told.push_back({"stored configuration: " + message, hinders});
    }
  }
  std::sort(in_files.begin(), in_files.end());
  in_files.erase(std::unique(in_files.begin(), in_files.end()), in_files.end());
  for (const auto& [error, hinders] : in_files) told.push_back({error.str(), hinders});
  return told;
}

// Errors of the files make others that follow from them: a VM that could not be read is missing
// its domain. Only what a reader can still believe is kept.
bool follows_from(const Json& finding, const LoadedDeclarations& loaded) {
  const std::string path = finding.at("path");
  const bool domain = path.size() > 7 && path.compare(path.size() - 7, 7, ".domain") == 0;
  return domain && finding.at("message") == "its domain XML is missing" && !loaded.errors.empty();
}

int review_and_send(const Options& options, ApplyConfiguration request,
                    const LoadedDeclarations& loaded, bool dry_run) {
  request.dry_run = true;
  const ControlReply reply = ask(options, request);
  Json review = Json::parse(reply.json, nullptr, false);
  const bool reviewed = reply.code == ReplyCode::done && !review.is_discarded();
  Json findings = Json::array();
  if (reviewed) {
    for (const Json& finding : review.at("findings")) {
      if (!follows_from(finding, loaded)) findings.push_back(finding);
    }
  }
  bool refused = false;
  for (const Told& told : placed(findings, loaded)) {
    std::fprintf(stderr, "%s\n", told.text.c_str());
    refused = refused || told.hinders;
  }
  if (refused) {
    std::fputs("nothing was applied\n", stderr);
    return kRefused;
  }
  if (!reviewed) return finish(reply);
  if (!options.json) std::fputs(show_review(review).c_str(), stdout);
  if (dry_run || review.at("changes").empty()) {
    if (options.json) std::printf("%s\n", reply.json.c_str());
    return 0;
  }
  request.dry_run = false;
  request.base = ConfigVersion(review.at("version").get<std::uint64_t>());
  ControlReply applied = ask(options, request);
  if (applied.code != ReplyCode::done) return finish(applied);
  if (options.json) {
    std::printf("%s\n", reply.json.c_str());
  } else {
    std::printf("applied: configuration version %llu\n",
                static_cast<unsigned long long>(request.base.value + 1));
  }
  return 0;
}

}  // namespace

int apply(const Options& options, const std::string& path, bool dry_run) {
  LoadedDeclarations loaded = load_declarations(path, agent_metadata);
  ApplyConfiguration request;
  request.upsert = std::move(loaded.declarations);
  return review_and_send(options, std::move(request), loaded, dry_run);
}

int remove(const Options& options, ApplyConfiguration request, bool dry_run) {
  return review_and_send(options, std::move(request), {}, dry_run);
}

}  // namespace clusterd::ctl
