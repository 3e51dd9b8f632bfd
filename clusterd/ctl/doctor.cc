#include "clusterd/ctl/doctor.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "clusterd/adapters/corosync/corosync_settings.h"
#include "clusterd/adapters/host/sleep.h"
#include "clusterd/ctl/show.h"

namespace clusterd::ctl {
namespace {

constexpr const char* kHook = "/etc/libvirt/hooks/qemu.d/clusterd";
constexpr const char* kStateFolder = "/var/lib/clusterd";
constexpr const char* kSecrets = "/etc/clusterd/secrets";

enum class Verdict { ok, warning, problem };

struct Check {
  std::string about;  // corosync, host, cluster
  Verdict verdict = Verdict::ok;
  std::string text;
};

using Checks = std::vector<Check>;

void examine_corosync(Checks& checks) {
  const auto settings = read_corosync_settings();
  if (!settings) {
    checks.push_back({"corosync", Verdict::problem, settings.error().message});
    return;
  }
  for (const SettingFinding& finding : judge(settings.value())) {
    const Verdict verdict = finding.gravity == Gravity::refused ? Verdict::problem
                            : finding.gravity == Gravity::weak  ? Verdict::warning
                                                                : Verdict::ok;
    checks.push_back({"corosync", verdict, finding.text});
  }
}

// A folder that only root should read; one that is not there is nobody's secret.
void examine_folder(const char* folder, Checks& checks) {
  struct stat found{};
  if (stat(folder, &found) != 0) return;
  if ((found.st_mode & (S_IRWXG | S_IRWXO)) == 0) return;
  checks.push_back({"host", Verdict::warning,
                    std::string(folder) + " is open to others than root: chmod 0700 " + folder});
}

void examine_host(Checks& checks) {
  const auto say = [&](Verdict verdict, std::string text) {
    checks.push_back({"host", verdict, std::move(text)});
  };
  if (access(kHook, X_OK) == 0) {
    say(Verdict::ok, "libvirt's hook keeps VMs from being started behind the cluster's back");
  } else {
    say(Verdict::problem,
        std::string(kHook) +
            " is not installed: nothing is started here. Install it, then restart "
            "libvirt and clusterd");
  }
  if (never_sleeps()) {
    say(Verdict::ok,
        "this host cannot be suspended: an \"off\" of its fence device may count at once");
  } else {
    say(Verdict::warning,
        "this host can be suspended: asleep it reads off, and wakes up with its VMs. `systemctl "
        "mask sleep.target suspend.target hibernate.target hybrid-sleep.target`");
  }
  examine_folder(kStateFolder, checks);
  examine_folder(kSecrets, checks);
}

void examine_cluster(const Options& options, Checks& checks) {
  const ControlReply reply = ask(options, GetStatus{});
  if (reply.code != ReplyCode::done) {
    checks.push_back({"cluster", Verdict::problem, reply.message});
    return;
  }
  const Json status = Json::parse(reply.json);
  const Json& cluster = status.at("cluster");
  const std::string waiting = cluster.at("waiting").get<std::string>();
  if (!waiting.empty()) checks.push_back({"cluster", Verdict::problem, "it waits: " + waiting});
  for (const Json& alarm : status.at("alarms")) {
    checks.push_back({"cluster", Verdict::problem, alarm.get<std::string>()});
  }
  const Json& reserve = cluster.at("reserve");
  if (!reserve.is_null() && !reserve.at("ok").get<bool>()) {
    checks.push_back(
        {"cluster", Verdict::warning,
         "the reserve does not hold: `clusterctl status` names the hosts and a remedy"});
  }
  if (waiting.empty() && status.at("alarms").empty()) {
    checks.push_back(
        {"cluster", Verdict::ok, "the daemon is in a cluster that works, without alarms"});
  }
}

const char* word(Verdict verdict) {
  static constexpr const char* kWords[] = {"ok", "warning", "problem"};
  return kWords[static_cast<std::size_t>(verdict)];
}

}  // namespace

int doctor(const Options& options) {
  Checks checks;
  examine_corosync(checks);
  examine_host(checks);
  examine_cluster(options, checks);
  Json told = Json::array();
  bool problems = false;
  for (const Check& check : checks) {
    told.push_back(
        {{"about", check.about}, {"verdict", word(check.verdict)}, {"text", check.text}});
    problems = problems || check.verdict == Verdict::problem;
  }
  const Json report{{"checks", std::move(told)}};
  const std::string text =
      options.json ? report.dump() + "\n" : show_doctor(report, options.terminal);
  std::fputs(text.c_str(), stdout);
  return problems ? static_cast<int>(ReplyCode::refused) : 0;
}

}  // namespace clusterd::ctl
