export default {
    "audit.how": "Changes, logins and refused changes, newest first. An event is listed a second or two after the request. Claims are not on the trail.",
    "audit.by-user": "User",
    "audit.by-event": "Event",
    "audit.by-event-hint": "The name of an operation, such as logIn or changeLimits. Empty for all.",
    "audit.find": "Show",
    "audit.none": "No event",
    "audit.older": "Older",
    "audit.at": "Time",
    "audit.user": "User",
    "audit.event": "Event",
    "audit.object": "Path",
    "audit.status": "Answer",
    "audit.repeated": "and {count} more",
    "audit.address": "Address",
    "audit.request": "Request id"
};
