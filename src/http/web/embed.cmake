# Writes a C++ source with the bytes of some files, for assets.hpp:
#   cmake -DOUTPUT=assets.cpp "-DFILES=a.html;b.js" -P embed.cmake
set(arrays "")
set(rows "")
set(index 0)
foreach(file IN LISTS FILES)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
  get_filename_component(name ${file} NAME)
  string(APPEND arrays "constexpr char file_${index}[] = {${bytes}};  // ${name}\n")
  string(APPEND rows "    {\"${name}\", {file_${index}, sizeof file_${index}}},\n")
  math(EXPR index "${index} + 1")
endforeach()

file(WRITE ${OUTPUT} "// Made by src/http/web/embed.cmake from the files beside it.
#include \"http/web/assets.hpp\"

#include <array>

namespace skein::web {
namespace {

${arrays}
constexpr std::array<asset, ${index}> all{{
${rows}}};

}  // namespace

std::span<const asset> assets() noexcept { return all; }

}  // namespace skein::web
")
