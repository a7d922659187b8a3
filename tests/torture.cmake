# SPDX-License-Identifier: Apache-2.0
# Variants of the real programs in which one call after the other fails (tests/lib/fault_shim.c).
set(praas_fault_calls malloc calloc realloc reallocarray aligned_alloc strdup strndup mmap memfd_create open
  openat read write pread pwrite opendir fdopendir fopen fsync rename link linkat unlinkat mkdir
  mkdirat ftruncate fallocate socket socketpair bind listen connect accept4 setsockopt epoll_create1
  eventfd timerfd_create send sendmsg recv recvmsg epoll_ctl posix_spawn pthread_create pipe2 dup clone
  syscall io_uring_queue_init io_uring_queue_init_params)
list(TRANSFORM praas_fault_calls PREPEND -Wl,--wrap=)

function(praas_torture_variant name program)
  add_executable(${name} ${ARGN} lib/fault_shim.c)
  praas_target(${name})
  target_compile_options(${name} PRIVATE -Wno-missing-prototypes)
  target_compile_definitions(${name} PRIVATE PRAAS_FAULT_PROGRAM=${program})
  target_link_options(${name} PRIVATE ${praas_fault_calls})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
endfunction()

if(PRAAS_SANITIZE MATCHES "address" AND TARGET praas AND TARGET praas-control AND TARGET praas-controller
   AND TARGET praas-worker)
  praas_torture_variant(praas-control-torture PRAAS_FAULT_CONTROL ../control/main.c)
  target_compile_definitions(praas-control-torture PRIVATE PRAAS_FAULT_SQLITE)
  target_link_libraries(praas-control-torture PRIVATE praas_control_rest praas_client_static)
  praas_torture_variant(praas-controller-torture PRAAS_FAULT_CONTROLLER ../controller/main.c)
  target_link_libraries(praas-controller-torture PRIVATE praas_controller)
  set(torture /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/torture/torture.py
    $<TARGET_FILE:praas-control-torture> $<TARGET_FILE:praas-controller-torture>
    $<TARGET_FILE:praas-worker> ${PROJECT_BINARY_DIR}/examples $<TARGET_FILE:praas>)
  add_test(NAME torture.mail COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/torture/mail.py
    $<TARGET_FILE:praas-control-torture> $<TARGET_FILE:fake-controller>)
  set_tests_properties(torture.mail PROPERTIES TIMEOUT 600)
  add_test(NAME torture.some COMMAND ${torture})
  set_tests_properties(torture.some PROPERTIES TIMEOUT 900)
  # Every call of every scenario, in parts of a few minutes each: by hand, ctest --test-dir build/asan -L long.
  set(parts rest calls swap worker create deploy restart)
  set(part_rest App AppDelete State List Token Message Delete)
  set(part_calls Invoke InvokeWorker InvokeFirst InvokeFirstWorker Direct DirectTcp Kill)
  set(part_swap SwapOut SwapIn Checkpoint)
  set(part_worker SwapOutWorker CreateInline)
  set(part_create Create)
  set(part_deploy Deploy)
  set(part_restart Restart)
  foreach(part ${parts})
    string(REPLACE ";" "," scenarios "${part_${part}}")
    add_test(NAME torture.all.${part} COMMAND ${torture} --full --only ${scenarios})
    set_tests_properties(torture.all.${part} PROPERTIES LABELS long TIMEOUT 3600)
  endforeach()
endif()

# Things that die under a load of clients.
if(TARGET praas-control AND TARGET praas-controller AND TARGET praas_faultfns)
  add_executable(campaign-load campaign/load.c)
  praas_target(campaign-load)
  target_link_libraries(campaign-load PRIVATE praas_client Threads::Threads)
  set_target_properties(campaign-load PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
  set(rounds 300)
  if(PRAAS_SANITIZE OR PRAAS_COVERAGE)
    set(rounds 60)
  endif()
  add_test(NAME campaign.kill COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/campaign/campaign.py
    $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns
    $<TARGET_FILE:campaign-load> --rounds ${rounds})
  # The same on a bad network: 20 rounds with a seed; more by hand, results in tests/campaign/RESULTS.md.
  add_test(NAME campaign.network COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/campaign/network.py
    $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns
    $<TARGET_FILE:campaign-load> --rounds 20 --seconds 40 --seed 1)
  set_tests_properties(campaign.network PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
  # Clients that follow moves; 1,000 moves by hand, results in tests/campaign/RESULTS.md.
  add_test(NAME campaign.moves COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/campaign/moves.py
    $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns
    $<TARGET_FILE:campaign-load> --rounds 40 --seconds 40 --seed 1)
  set_tests_properties(campaign.moves PROPERTIES TIMEOUT 300)
  add_test(NAME campaign.checker
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/campaign/self_test.py)
  set_tests_properties(campaign.kill PROPERTIES TIMEOUT 400)
endif()
