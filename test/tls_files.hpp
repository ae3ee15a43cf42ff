#pragma once

// Certificates for tests, made on the spot: authorities, what they issue, and the files that programs want.

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct evp_pkey_st;
struct x509_st;

namespace skein::test {

/// A folder of its own, removed with everything in it.
class temporary_folder {
 public:
  temporary_folder();
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  ~temporary_folder();

  [[nodiscard]] std::string path(std::string_view name) const { return (path_ / name).string(); }
  /// Writes a file and returns its path.
  std::string write(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

/// PEM texts.
struct certified {
  std::string certificate;  ///< with its chain
  std::string key;
};

struct certificate_wish {
  std::string common_name{};
  /// As OpenSSL's configuration writes them: "DNS:a.example", "URI:spiffe://x", "email:a@b.example".
  std::vector<std::string> alternative_names{};
  bool for_client = false;
  bool rsa = false;
  bool expired = false;
  std::optional<std::chrono::sys_seconds> not_after{};  ///< empty: in ten years
};

class authority {
 public:
  explicit authority(std::string_view name);
  authority(authority&&) noexcept;
  ~authority();

  [[nodiscard]] std::string certificate() const;  ///< PEM
  [[nodiscard]] certified issue(const certificate_wish& wish) const;
  /// An authority that this one vouches for; what it issues has its certificate in the chain.
  [[nodiscard]] authority vouch_for(std::string_view name) const;

 private:
  struct parts;
  explicit authority(std::unique_ptr<parts> made);

  std::unique_ptr<parts> parts_;
};

}  // namespace skein::test
