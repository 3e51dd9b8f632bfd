#include "clusterd/ctl/apply.h"

#include <cstdio>
#include <vector>

#include "clusterd/ctl/show.h"
#include "clusterd/ctl/told.h"
#include "fencing/agent/agent_metadata.h"

namespace clusterd::ctl {
namespace {

constexpr int kRefused = static_cast<int>(ReplyCode::refused);

std::vector<Finding> findings_of(const Json& review) {
  std::vector<Finding> findings;
  for (const Json& finding : review.at("findings")) {
    findings.push_back({finding.at("path"), finding.at("message"),
                        finding.at("severity") == "error" ? Severity::error : Severity::warning});
  }
  return findings;
}

// Errors of the files make others that follow from them: a VM that could not be read is missing
// its domain. Only what a reader can still believe is kept.
bool follows_from(const Finding& finding, const LoadedDeclarations& loaded) {
  const std::string& path = finding.path;
  const bool domain = path.size() > 7 && path.compare(path.size() - 7, 7, ".domain") == 0;
  return domain && finding.message == "its domain XML is missing" && !loaded.errors.empty();
}

int review_and_send(const Options& options, ApplyConfiguration request,
                    const LoadedDeclarations& loaded, bool dry_run) {
  request.dry_run = true;
  const ControlReply reply = ask(options, request);
  Json review = Json::parse(reply.json, nullptr, false);
  const bool reviewed = reply.code == ReplyCode::done && !review.is_discarded();
  std::vector<Finding> findings;
  if (reviewed) findings = findings_of(review);
  std::erase_if(findings, [&](const Finding& finding) { return follows_from(finding, loaded); });
  bool refused = false;
  for (const Told& told : placed(findings, loaded, "stored configuration")) {
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
