/** rtnetlink (linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h; man 7 rtnetlink). */
export const NETLINK_ROUTE = 0;
/** Types of messages. */
export const NetlinkMessage = {
  NLMSG_ERROR: 2,
  NLMSG_DONE: 3,
  RTM_NEWLINK: 16,
  RTM_GETLINK: 18,
  RTM_NEWADDR: 20,
  RTM_GETADDR: 22,
} as const;
export type NetlinkMessage = keyof typeof NetlinkMessage;
/** Flags of a request. */
export const NetlinkFlag = {
  NLM_F_REQUEST: 1,
  NLM_F_ACK: 4,
  NLM_F_EXCL: 0x200,
  NLM_F_CREATE: 0x400,
  NLM_F_DUMP: 0x300,
} as const;
export type NetlinkFlag = keyof typeof NetlinkFlag;
/** Attributes of a link. */
export const LinkAttribute = { IFLA_IFNAME: 3, IFLA_NET_NS_FD: 28 } as const;
/** Attributes of an address. */
export const AddressAttribute = {
  IFA_ADDRESS: 1,
  IFA_LOCAL: 2,
  IFA_LABEL: 3,
  IFA_BROADCAST: 4,
  IFA_CACHEINFO: 6,
  IFA_FLAGS: 8,
} as const;
/** Flags of an address. */
export const AddressFlag = { IFA_F_PERMANENT: 0x80 } as const;
/** Scope of an address that is valid everywhere. */
export const RT_SCOPE_UNIVERSE = 0;
