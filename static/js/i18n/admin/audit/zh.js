export default {
    "audit.how": "更改、登录和被拒绝的更改，最新的在前。请求之后一两秒，事件才会列出。领取不在记录中。",
    "audit.by-user": "用户",
    "audit.by-event": "事件",
    "audit.by-event-hint": "操作的名称，例如 logIn 或 changeLimits。留空则显示全部。",
    "audit.find": "显示",
    "audit.none": "没有事件",
    "audit.older": "更早的",
    "audit.at": "时间",
    "audit.user": "用户",
    "audit.event": "事件",
    "audit.object": "路径",
    "audit.status": "答复",
    "audit.repeated": "另有 {count} 次",
    "audit.address": "地址",
    "audit.request": "请求编号"
};
