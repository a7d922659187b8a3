# SPDX-License-Identifier: Apache-2.0
praas_unit_test(ticket praas_ticket)
praas_unit_test(frame praas_transport)
praas_unit_test(moved praas_transport)
praas_unit_test(arq praas_transport)
praas_unit_test(arq_hostile praas_transport)
praas_unit_test(seal praas_transport)
if(TARGET praas_aead_mb) # the same by the other library
  add_executable(test_seal_mb unit/test_seal.c)
  praas_target(test_seal_mb)
  target_link_libraries(test_seal_mb PRIVATE PkgConfig::CMOCKA praas_aead_mb praas_transport)
  set_target_properties(test_seal_mb PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
  add_test(NAME unit.seal_mb COMMAND test_seal_mb)
  set_tests_properties(unit.seal_mb PROPERTIES TIMEOUT 120)
endif()
praas_unit_test(inet praas_transport)

# The datagram transport on a wire in memory.
add_library(praas_wire STATIC lib/wire.c)
praas_target(praas_wire)
target_link_libraries(praas_wire PUBLIC praas_transport Threads::Threads)

# One suite, run for every transport.
add_executable(conformance_transport conformance/transport/transport.c conformance/transport/ends.c
  conformance/transport/rig.c conformance/transport/schemes.c)
praas_target(conformance_transport)
target_link_libraries(conformance_transport PRIVATE praas_wire PkgConfig::CMOCKA)
set_target_properties(conformance_transport PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
foreach(scheme tcp4 tcp6 tcp4-poll tls4 tls6 shm sealed.tcp4 wire4 wire6 wire4-bad)
  add_test(NAME conformance.transport.${scheme} COMMAND conformance_transport ${scheme})
  set_tests_properties(conformance.transport.${scheme} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
endforeach()
# libfabric's providers for everyone's machine; one that is not there is skipped.
foreach(provider tcp tcp-packets tcp-registers net net6 net-rxm shm sockets rxd)
  add_test(NAME conformance.transport.ofi.${provider} COMMAND conformance_transport ofi.${provider})
  set_tests_properties(conformance.transport.ofi.${provider} PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 120)
endforeach()
foreach(provider tcp net)
  add_test(NAME conformance.transport.sealed.ofi.${provider} COMMAND conformance_transport sealed.ofi.${provider})
  set_tests_properties(conformance.transport.sealed.ofi.${provider} PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 120)
endforeach()
# DPDK on drivers that need no hardware; loss; the real programs.
add_executable(dpdk_goodput dpdk/goodput.c conformance/transport/rig.c)
praas_target(dpdk_goodput)
target_link_libraries(dpdk_goodput PRIVATE praas_transport PkgConfig::CMOCKA)
set_target_properties(dpdk_goodput PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
add_executable(dpdk_shared dpdk/shared.c conformance/transport/rig.c)
praas_target(dpdk_shared)
target_link_libraries(dpdk_shared PRIVATE praas_transport PkgConfig::CMOCKA Threads::Threads)
set_target_properties(dpdk_shared PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
foreach(device af_packet4 af_packet6 af_xdp4 memif4 queues4 tap4 tap6 ring4)
  add_test(NAME conformance.transport.dpdk.${device}
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/dpdk/run ${PROJECT_BINARY_DIR} conformance ${device})
  set_tests_properties(conformance.transport.dpdk.${device} PROPERTIES LABELS "slow;full" SKIP_RETURN_CODE 77 TIMEOUT 120)
endforeach()
# A link that goes down and comes back; also over RDMA (rdma.cmake).
add_executable(conformance_link conformance/transport/link.c conformance/transport/rig.c
  conformance/transport/schemes.c)
praas_target(conformance_link)
target_link_libraries(conformance_link PRIVATE praas_wire PkgConfig::CMOCKA)
set_target_properties(conformance_link PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
foreach(what loss e2e shared link)
  add_test(NAME dpdk.${what} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/dpdk/run ${PROJECT_BINARY_DIR} ${what})
  set_tests_properties(dpdk.${what} PROPERTIES LABELS "slow;full" SKIP_RETURN_CODE 77 TIMEOUT 120)
endforeach()
set_property(TEST dpdk.shared APPEND PROPERTY LABELS notsan) # which does not see how DPDK's rings order
set_tests_properties(conformance.transport.dpdk.af_xdp4 PROPERTIES ENVIRONMENT
  LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/lib/lsan.supp)
praas_unit_test(dpdk_config praas_transport)

# A payload of more than 4 GiB: about 10 GB of memory.
foreach(scheme tcp4)
  add_test(NAME conformance.transport.${scheme}.giant COMMAND conformance_transport ${scheme} giant)
  set_tests_properties(conformance.transport.${scheme}.giant PROPERTIES LABELS slow
    SKIP_RETURN_CODE 77 TIMEOUT 600 RESOURCE_LOCK memory)
  if(PRAAS_SANITIZE) # minutes; the same code as for a payload of megabytes
    set_tests_properties(conformance.transport.${scheme}.giant PROPERTIES LABELS long)
  endif()
endforeach()

add_executable(conformance_tcp conformance/transport/tcp.c conformance/transport/rig.c)
praas_target(conformance_tcp)
target_link_libraries(conformance_tcp PRIVATE praas_transport PkgConfig::CMOCKA)
set_target_properties(conformance_tcp PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
add_test(NAME conformance.tcp COMMAND conformance_tcp)
set_tests_properties(conformance.tcp PROPERTIES TIMEOUT 120)

add_executable(conformance_shm conformance/transport/shm.c conformance/transport/rig.c)
praas_target(conformance_shm)
target_link_libraries(conformance_shm PRIVATE praas_transport PkgConfig::CMOCKA)
set_target_properties(conformance_shm PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
add_test(NAME conformance.shm COMMAND conformance_shm)
set_tests_properties(conformance.shm PROPERTIES TIMEOUT 120)

add_executable(conformance_dgram conformance/transport/dgram.c conformance/transport/rig.c)
praas_target(conformance_dgram)
target_link_libraries(conformance_dgram PRIVATE praas_wire PkgConfig::CMOCKA)
set_target_properties(conformance_dgram PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
add_test(NAME conformance.dgram COMMAND conformance_dgram)
set_tests_properties(conformance.dgram PROPERTIES TIMEOUT 120)

add_executable(conformance_tls conformance/transport/tls.c conformance/transport/rig.c)
praas_target(conformance_tls)
target_link_libraries(conformance_tls PRIVATE praas_transport PkgConfig::CMOCKA)
set_target_properties(conformance_tls PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
add_test(NAME conformance.tls COMMAND conformance_tls)
set_tests_properties(conformance.tls PROPERTIES TIMEOUT 120)

# What is sealed: a wire that changes it, a peer that has the keys.
add_executable(conformance_sealed conformance/transport/sealed.c conformance/transport/rig.c)
add_executable(conformance_sealed_peer conformance/transport/sealed_peer.c conformance/transport/rig.c
  conformance/transport/schemes.c)
foreach(test sealed sealed_peer)
  praas_target(conformance_${test})
  target_link_libraries(conformance_${test} PRIVATE praas_wire PkgConfig::CMOCKA)
  set_target_properties(conformance_${test} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME conformance.${test} COMMAND conformance_${test})
  set_tests_properties(conformance.${test} PROPERTIES TIMEOUT 120)
endforeach()

set(praas_fuzz_files_frame transport/frame.c)
set(praas_fuzz_files_handshake transport/handshake.c transport/session.c transport/session_client.c)
set(praas_fuzz_files_ticket transport/ticket.c)
set(praas_fuzz_files_shm transport/shm_link.c)
set(praas_fuzz_files_tls transport/tls.c)
set(praas_fuzz_files_tcp_stream transport/tcp_stream.c transport/tcp_chunks.c)
set(praas_fuzz_files_arq transport/arq.c transport/arq_loss.c transport/arq_recv.c transport/arq_send.c
  transport/arq_wire.c)
set(praas_fuzz_files_inet transport/inet.c)
praas_fuzz_target(arq praas_transport)
set(praas_fuzz_files_dgram transport/dgram.c transport/dgram_conn.c transport/dgram_io.c transport/dgram_open.c)
praas_fuzz_target(dgram praas_transport)
target_link_options(fuzz_dgram PRIVATE LINKER:--wrap=clock_gettime,--wrap=getrandom)
praas_fuzz_target(inet praas_transport)
set(praas_fuzz_files_verbs_wire transport/verbs_wire.c)
praas_fuzz_target(verbs_wire praas_transport)
praas_fuzz_target(frame praas_transport)
praas_fuzz_target(handshake praas_transport)
praas_fuzz_target(ticket praas_ticket)
praas_fuzz_target(shm praas_transport)
praas_fuzz_target(tcp_stream praas_transport)
praas_fuzz_target(tls praas_transport)
if(FABRIC_FOUND)
  add_executable(conformance_ofi conformance/transport/ofi.c conformance/transport/ofi_raw.c
    conformance/transport/rig.c)
  praas_target(conformance_ofi)
  target_link_libraries(conformance_ofi PRIVATE praas_transport PkgConfig::CMOCKA)
  set_target_properties(conformance_ofi PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  foreach(provider tcp net)
    add_test(NAME conformance.ofi.${provider} COMMAND conformance_ofi ${provider})
    set_tests_properties(conformance.ofi.${provider} PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 180)
  endforeach()
  # The net provider (1.17) never frees what it knows of a connection.
  set_tests_properties(conformance.ofi.net conformance.transport.ofi.net conformance.transport.ofi.net6
    conformance.transport.ofi.net-rxm PROPERTIES ENVIRONMENT
    LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/lib/lsan.supp)
  set(praas_fuzz_files_ofi transport/ofi_packet.c transport/ofi_addr.c)
  praas_fuzz_target(ofi praas_transport)
endif()
