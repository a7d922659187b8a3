# SPDX-License-Identifier: Apache-2.0
# What ThreadSanitizer learns nothing from, label `onethread`. It sees the threads of one program, not what programs share.

# One thread.
set(one_thread unit.trigger_model unit.redo_edit unit.redo_turn unit.mail unit.circle unit.forged unit.worker unit.worker_nested
  unit.worker_ahead unit.stage_away unit.stage_swap unit.stages unit.overflow unit.inline unit.state_machines unit.process
  unit.process_hostile unit.lease_kept unit.snapshot unit.segment unit.shm_hostile unit.members unit.held unit.shm_transport unit.park
  unit.outbox unit.move unit.sealed unit.message_trace)
# The control service and controllers, whose threads do the same in control.e2e, rest, watch, faults, receive, redis, move, journal,
# drain and circles.shm, which stay: other requests, another address family, another way of bytes into the one thread of data.
list(APPEND one_thread control.wire control.sums control.deploy control.mail control.mailbox control.limits control.guard
  control.access control.openapi control.idempotency control.tls control.broken control.peers control.circles.tcp control.stages.shm
  control.stages.tcp control.journal.moves control.nodes control.snapshots control.usage control.functions control.full
  e2e.completion e2e.controller.prepared.inline e2e.controller.prepared.worker e2e.faults e2e.triggers campaign.moves
  conformance.transport.tcp6 conformance.transport.tls6 conformance.transport.wire6 conformance.transport.wire4-bad)
foreach(name IN LISTS one_thread)
  if(TEST ${name})
    set_property(TEST ${name} APPEND PROPERTY LABELS onethread)
  endif()
endforeach()
