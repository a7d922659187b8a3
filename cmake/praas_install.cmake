# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where. Included last, when all targets are known.
include(CMakePackageConfigHelpers)

# What a person calls goes to bin/, what praas-control starts to libexec/praas/.
set(PRAAS_LIBEXECDIR ${CMAKE_INSTALL_LIBEXECDIR}/praas)
foreach(program praas praas-control)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  endif()
endforeach()
foreach(program praas-controller praas-worker)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${PRAAS_LIBEXECDIR})
  endif()
endforeach()

# Loaded by need: transport/dpdk.c knows where.
if(TARGET praas_dpdk)
  install(TARGETS praas_dpdk LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/praas)
endif()

if(TARGET praas_client)
  set(package ${CMAKE_INSTALL_LIBDIR}/cmake/praas)
  set_target_properties(praas_client PROPERTIES EXPORT_NAME praas OUTPUT_NAME praas
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  install(TARGETS praas_client EXPORT praasTargets INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT praasTargets NAMESPACE praas:: DESTINATION ${package})
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/praasConfig.cmake.in
    ${PROJECT_BINARY_DIR}/praasConfig.cmake INSTALL_DESTINATION ${package})
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/praasConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/praasConfig.cmake ${PROJECT_BINARY_DIR}/praasConfigVersion.cmake
    DESTINATION ${package})
  configure_file(${PROJECT_SOURCE_DIR}/cmake/praas.pc.in ${PROJECT_BINARY_DIR}/praas.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/praas.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
install(FILES ${PROJECT_SOURCE_DIR}/client/cli/praas.bash RENAME praas
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${PROJECT_SOURCE_DIR}/client/cli/praas.zsh RENAME _praas
  DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES ${PROJECT_SOURCE_DIR}/client/cli/praas.fish
  DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Every program and shared library of ours, for the check of their hardening.
function(praas_collect_elf folder out)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  get_property(folders DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  set(found "")
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    if(type MATCHES "^(EXECUTABLE|SHARED_LIBRARY|MODULE_LIBRARY)$")
      list(APPEND found $<TARGET_FILE:${target}>)
    endif()
  endforeach()
  foreach(sub ${folders})
    if(NOT sub STREQUAL ${PROJECT_SOURCE_DIR}/tests)
      praas_collect_elf(${sub} more)
      list(APPEND found ${more})
    endif()
  endforeach()
  set(${out} ${found} PARENT_SCOPE)
endfunction()
praas_collect_elf(${PROJECT_SOURCE_DIR} elf_files)
list(JOIN elf_files "\n" elf_list)
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/elf_files.txt CONTENT "${elf_list}\n")
