#include <skein/error.hpp>

namespace skein {
namespace {

class category final : public boost::system::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "skein"; }
  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<errc>(value)) {
      case errc::connection_closed:
        return "the connection has ended";
      case errc::connection_limit:
        return "the limit of connections is reached";
      case errc::draining:
        return "the server is shutting down";
      case errc::handshake_refused:
        return "the opening handshake was refused";
      case errc::handshake_timeout:
        return "the opening handshake took too long";
      case errc::address_unavailable:
        return "the address cannot be listened on";
      case errc::bad_configuration:
        return "an option has a value that is not allowed";
      case errc::timed_out:
        return "the operation did not complete in time";
      case errc::store_unavailable:
        return "the message store cannot do its work now";
      case errc::store_full:
        return "the message store is full";
      case errc::store_incompatible:
        return "the database belongs to a newer version or to another program";
      case errc::message_too_big:
        return "the message is larger than a limit allows";
    }
    return "unknown error";
  }
};

}  // namespace

const boost::system::error_category& skein_category() noexcept {
  static const category instance;
  return instance;
}

error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), skein_category()};
}

}  // namespace skein
