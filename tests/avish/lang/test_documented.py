"""Every operational word of the original is answered: built, or refused in one sentence. Our own list of its words."""

from __future__ import annotations

import pytest
from language import TREE

from avish.errors import ParseError
from avish.lang.walk import parse

ENGINE = """
    adaptiveevents, appmap, arpstat, arptable, bfd running_config, bfd session_status, bgp, bgp
    advertised_routes, bgp debug, bgp peer_info, bgp peer_state, bgp peer_status, bgp running_config, bot
    caches, connected, consistenthash, cpu, cpu detail, detail, dosstat, dpmetrics, flowtable, flowtable_remote,
    flowtablestat, graphdb, httpstats, icmp6stat, icmpstat, interface, interface lacp, interface summary,
    internal, ip6route, ip6stat, ipstat, lldp, mallocstats, mbufstats, memdist, meminfo, metrics, metrics debug,
    metrics detail, microservice, nat-flows, natpolicystat, natpolicystats, natstat, ndtable, network-service,
    objsync, placement, placement detail, placement summary, ratelimiting msf internal, ratelimiting rl
    internal, reservedvs, resolverdb, resolverdbsummary, resourcemap, route, route-flows, routestat,
    rteringstat, sctp-flows, sctp-flows detail, seagent, seassertstats ag, seassertstats dp, seauthstats,
    sehmprobedisable, selogstats, seruminsertionstats, sevshbstats, sevssplacement, shardclientevents,
    shmallocstats, summary, tcp-flows, tcp-flows detail, vnicdb, vnicdbhistory, vrf-ip-info, vshash
"""
SERVICE = """
    authstats, candidate-se-host-list, client, clientsummary, cltrack, cltracksummary, connections, detail,
    dnspolicystats, dnstable, dosstat, gslbservicedetail, gslbservicehmonstat, gslbserviceinternal,
    httpconnections, httpconnections detail, httppolicyset, httppolicyset stats, httpstats, internal, keyval,
    keyvalsummary, l4policysetstats, networksecuritypolicy detail, networksecuritypolicystats, outofbandstats,
    placement, placement detail, placement status, placement summary, scaleoutstatus, scaleoutstatus detail,
    sctpstat, sescaleoutstatus, sslsessioncache, summary, tcpstat, traffic_clone_stats, udpstat, vslogstats
"""
POOL = """
    algo, connpool, debug, detail, hmon, httpcache, httpcachestats, httpcachestats detail, internal,
    persistence, server detail, server hmonstat, server internal, server summary, summary
"""
CLEAR = {
    "pool": """
        connpool, connpoolstats, httpcache, httpcachestats, persistence, request_queue, stats
    """,
    "serviceengine": """
        arpstat, arptable, dosstat, flowtable, flowtablestat, httpstats, icmpstat, interface, ipstat, mbufstats,
        reservedvs, seauthstats, sehmprobedisable, selogstats, seruminsertionstats
    """,
    "serviceenginegroup": """
        runtime
    """,
    "virtualservice": """
        authstats, client, cltrack, connections, httppolicyset stats, keyval, stats
    """,
}
OTHERS = """
    apicplacement x, applylogrecommendation x, attach controller x, attach serviceengine x, bash, convert x,
    copy file source a destination b, debug controller task_queue_debug, debug serviceengine x, debug
    virtualservice x, delete alert x, delete pkiprofile x, delete serviceengine x, exec cloud x gc, exec cloud x
    gc force, faultinject serviceengine x, forcedelete serviceengine x, genevent x, getnetworks x, history,
    initialplacement virtualservice x, logrecommendation x, migrate virtualservice x, passwd, purge file source
    a, rebalance serviceenginegroup x, reboot, reboot clean, reboot node, reboot serviceengine x, rediscover
    vcenter, redistribute serviceenginegroup x, renew x, restart virtualservice x, resync virtualservice x,
    retryplacement virtualservice x, rollback system, rotatekeys x, scalein pool x, scalein virtualservice x,
    scaleout pool x, scaleout virtualservice x, show alert, show analyticsprofile x internal, show apic ciftable
    summary, show apic internal, show applicationprofile x internal, show autoscale_mgr pool x, show
    autoscalelaunchconfig x, show backup, show cloud x health, show cloud x hosts, show cloud x internals, show
    cloud x status, show cluster runtime, show cluster status, show debug flags virtualservice x, show
    debug-log, show gslb x detail, show gslb x internal, show gslb x summary, show gslbhealthmonitor x runtime,
    show gslbservice x runtime, show image, show jobs, show license, show logcontrollermapping, show metricsmgr
    x, show microservice x detail, show microservice x internal, show microservicegroup x detail, show network x
    runtime, show networkprofile x internal, show placement consumers x, show placement createpending, show
    placement globals, show placement resources x, show placement stats, show placement status, show placement
    vip, show placement vrf, show placement writeopsinfo, show securechannelavailablelocalips x, show
    securechannelmapping x, show securechanneltoken, show serviceenginegroup x placement ineligible, show
    serviceenginegroup x placement summary, show serviceenginegroup x summary, show tech-support, show terminal,
    show transaction stats x, show upgrade status, show useractivity x, show vcenter datacenters, show vcenter
    vcentercounters, show version controller, show vinfra host x, show vinfra internal, show vinfra vcenter x
    datastores, switchover serviceengine x, switchover virtualservice x, switchto cloud x, switchto tenant x,
    test alerttestemail x, test alerttestsnmptrap x, test alerttestsyslog x, test cloudconnectoruser x, test
    systememail, updatecrsrules x, updatefromcrs x, upgrade system image_path x, upgrade ui, upload adminkey
    public_key x, upload hsmpackage filename x, upload tech-support debuglogs, verifylogin x
"""
FILTERS = {
    "show serviceengine x route": """
        primary_only, disable_aggregate se, se_uuid x, all_se
    """,
    "show serviceengine x arptable": """
        ip_address 10.0.0.1, primary_only, disable_aggregate se, se_uuid x, all_se
    """,
    "show serviceengine x flowtable": """
        src_ip_addr 10.0.0.1, src_ip_mask 24, src_port 1, src_port_hi 2, dst_ip_addr 10.0.0.1, dst_ip_mask 24,
        dst_port 1, dst_port_hi 2, intfname x, core_num 0, protocol_str tcp
    """,
    "show serviceengine x tcp-flows": """
        conn_type x, ip_addr 10.0.0.1, port 1, ip_mask 24, listening_ports, core_num 0
    """,
    "show virtualservice x dosstat": """
        cps_doser_ip 10.0.0.1, cps_doser_mask 24, cps_doser_end_ip 10.0.0.1, all_se
    """,
    "show virtualservice x detail": """
        type both, service_port 80, vservertype l4, se_uuid x
    """,
    "show pool x persistence": """
        persistence_ip 10.0.0.1, persistence_mask 24, persistence_end_ip 10.0.0.1, server_ip 10.0.0.1,
        server_mask 24, server_end_ip 10.0.0.1, server_port 80, persistence_cookie x, disable_aggregate se
    """,
    "show placement vip": """
        addr 10.0.0.1
    """,
    "show virtualservice x candidate-se-host-list": """
        check_hosts
    """,
}


def phrases(text):
    return [part.strip() for part in " ".join(text.split()).split(",")]


LINES = [
    *(f"show serviceengine x {words}" for words in phrases(ENGINE)),
    *(f"show virtualservice x {words}" for words in phrases(SERVICE)),
    *(f"show pool x {words}" for words in phrases(POOL)),
    *(f"clear {kind} x {words}" for kind, text in CLEAR.items() for words in phrases(text)),
    *phrases(OTHERS),
    *(f"{show} filter {words}" for show, text in FILTERS.items() for words in phrases(text)),
]


def answer(line):
    """The reason of a refusal, or "" when something runs."""
    try:
        walk = parse(TREE, [], line)
    except ParseError as error:
        return str(error)
    last = walk.ops[-1]
    return last[1].refused if last[0] == "run" else ""


def test_the_list_is_long_and_says_nothing_twice():
    assert len(LINES) == len(set(LINES)) > 250


@pytest.mark.parametrize("line", LINES)
def test_a_documented_line_is_built_or_refused_in_a_sentence(line):
    reason = answer(line)
    assert not reason or len(reason.split()) > 5
    for unknown in ("unknown word", "the command ends before", "too early"):
        assert unknown not in reason, line


def test_a_word_that_nobody_documented_is_unknown():
    assert "unknown word" in answer("show serviceengine x hastate")
    assert "unknown word" in answer("clear pool x servers")
