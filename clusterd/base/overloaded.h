// overloaded: builds one visitor for std::visit from several lambdas.
#pragma once

namespace clusterd {

template <class... Fs>
struct overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
overloaded(Fs...) -> overloaded<Fs...>;

}  // namespace clusterd
