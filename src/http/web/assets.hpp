#pragma once

// The files of this folder, as bytes inside the program: embed.cmake writes the source when the program is
// built.

#include <span>
#include <string_view>

namespace skein::web {

struct asset {
  std::string_view name;  ///< of the file, such as `index.html`
  std::string_view bytes;
};

/// All files; they live as long as the program.
[[nodiscard]] std::span<const asset> assets() noexcept;

}  // namespace skein::web
