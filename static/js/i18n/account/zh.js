export default {
    "password.title": "修改密码",
    "password.old": "原密码",
    "password.new": "新密码",
    "password.hint": "您账号的其他登录都会失效。",
    "password.action": "修改密码",
    "password.busy": "请稍候…",
    "password.cancel": "取消",
    "password.close": "关闭",
    "password.done": "新密码已生效。",
    "password.failed-old": "原密码不正确，请检查后重试。",
    "password.failed-short": "这个密码太短，请换一个长一些的。",
    "password.failed-long": "这个密码太长，请换一个短一些的。",
    "password.failed-common": "这个密码在常用密码名单上，请换一个。",
    "password.failed-rate-limited": "尝试次数过多，请一分钟后再试。",
    "password.failed-unknown": "服务没有回应，密码可能已经修改。请重新登录，确认哪个密码有效。",
    "password.failed-unavailable": "服务繁忙，密码没有修改，请稍后再试。"
};
